import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { rowsOf } from '../support/documents.ts';
import { FakeRun } from '../support/fake-run.ts';

const DOCUMENT = readFileSync(new URL('../../docs/reference/options.md', import.meta.url), 'utf8');
const ADAPTER = readFileSync(new URL('../../agent/child/signals.io.ts', import.meta.url), 'utf8');

const ROWS = rowsOf(DOCUMENT)
  .filter(([, action = '']) => /^(stop|standby|forward)$/.test(action))
  .flatMap(([signals = '', action = '']) =>
    signals.split(', ').map((signal) => ({ signal: signal as NodeJS.Signals, action })),
  );

/** The supervisor's reaction to a signal while kuma-dp serves, derived from its effects alone. */
async function actionOf(signal: NodeJS.Signals): Promise<string> {
  const run = new FakeRun();
  run.serve();
  run.signal(signal);
  await run.clock.settle();
  if (run.endpoint.times('deregister').length === 0)
    return run.sent.includes(`${signal} 0`) ? 'forward' : 'nothing';
  await run.clock.pass(10_000);
  return run.ended === undefined ? 'standby' : 'stop';
}

describe('docs/reference/options.md', () => {
  test('lists every signal that the agent catches, and no other', () => {
    const caught = /CAUGHT_SIGNALS = \[([^\]]+)\]/.exec(ADAPTER)?.[1] ?? '';
    const signals = [...caught.matchAll(/'(SIG[A-Z0-9]+)'/g)].map(([, signal]) => signal);
    expect(signals.length).toBeGreaterThan(5);
    expect(new Set(ROWS.map(({ signal }) => signal))).toEqual(new Set(signals));
    expect(ROWS).toHaveLength(signals.length);
  });

  test.for(ROWS)('$signal: $action', async ({ signal, action }) => {
    expect(await actionOf(signal)).toBe(action);
  });
});
