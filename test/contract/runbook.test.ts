import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';

import { createMetrics } from '../../control-plane/server/metrics.io.ts';
import { GUARDS } from '../../control-plane/evidence/guards.pure.ts';
import { ERROR_CODES } from '../../kernel/errors.ts';
import { codeOf, pages, ROOT } from '../support/documents.ts';

/** Pages that tell operators what to look for. */
const PAGES = pages().filter(({ path }) =>
  /^docs\/(operate\/[\w-]+|rollout\/\w+|security\/[\w-]+|develop\/benchmarks)\.md$/.test(path),
);

const EVENTS = new Set(
  [
    'agent/events.ts',
    'agent/stop-events.ts',
    'agent/witness-events.ts',
    'control-plane/events.ts',
    'control-plane/witness-events.ts',
  ]
    .map((path) => readFileSync(join(ROOT, path), 'utf8'))
    .flatMap((source) => [...source.matchAll(/'([a-z-]+\.[a-z-]+)'/g)].map(([, name = '']) => name)),
);

function eventsIn(code: readonly string[]): readonly string[] {
  const logged = code.flatMap((line) =>
    [...line.matchAll(/"event":"([^"]+)"/g)].map(([, name = '']) => name),
  );
  const named = code.filter(
    (line) => /^[a-z]+(-[a-z]+)*\.[a-z-]+$/.test(line) && !/\.(md|service|db|yaml|code)$/.test(line),
  );
  return [...logged, ...named];
}

describe.for(PAGES)('$path', ({ text }) => {
  const code = codeOf(text);

  test('names events that there are', () => {
    expect(eventsIn(code).filter((name) => !EVENTS.has(name))).toEqual([]);
  });

  test('names metrics that there are', async () => {
    const registry = new Registry();
    createMetrics(registry);
    const known = (await registry.getMetricsAsJSON()).map(({ name }) => name);
    const named = code.flatMap((line) => line.match(/kuma_deregistrar_[a-z_]+/g) ?? []);
    expect(named.filter((name) => !known.includes(name))).toEqual([]);
  });
});

const RUNBOOK = PAGES.filter(({ path }) => /^docs\/operate\/(host|control-plane)\.md$/.test(path));

test('has something to say of every guard', () => {
  const text = RUNBOOK.map((page) => page.text).join('\n');
  const told = [...text.matchAll(/what-happens-when\.md#([a-z-]+)\)/g)].map(([, name = '']) => name);
  expect(Object.keys(GUARDS).filter((guard) => !told.includes(guard))).toEqual([]);
});

describe.for(RUNBOOK)('the runbook $path', ({ text }) => {
  test('names error codes that there are', () => {
    const code = codeOf(text);
    const named = code.filter((line) => /^[A-Z]+(_[A-Z]+)+$/.test(line) && !line.startsWith('KUMA_'));
    const logged = code.flatMap((line) =>
      [...line.matchAll(/"code":"([A-Z_]+)"/g)].map(([, name = '']) => name),
    );
    expect([...named, ...logged].filter((name) => !(name in ERROR_CODES))).toEqual([]);
  });

  test('says in each part what it looks like, what to do and what not', () => {
    const parts = text.split(/^## /m).slice(1);
    expect(parts.length).toBeGreaterThan(5);
    const lacking = parts.filter((part) => !/\*\*Do not\*\*/.test(part));
    expect(lacking.map((part) => part.split('\n')[0])).toEqual([]);
  });
});
