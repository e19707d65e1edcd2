import { afterEach, describe, expect, test } from 'vitest';

import type { ControlPlaneFacts } from '../../../../kuma/control-plane.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import { answers, FakeEndpoint, hangs, type Reply } from '../../../support/fake-endpoint.ts';
import { FakeRun, type FakeRunOptions } from '../../../support/fake-run.ts';

let runs: FakeRun[] = [];

afterEach(() => {
  for (const run of runs) expect(run.clock.armed, 'timers left armed').toBe(0);
  runs = [];
});

const FEDERATED: ControlPlaneFacts = {
  ...DEFAULT_FACTS,
  otherZones: { ingressMs: 6_000, lastOfServiceMs: 8_000 },
};

interface Scene {
  readonly facts?: ControlPlaneFacts;
  readonly siblings?: Reply<boolean>;
  readonly silent?: Reply<readonly string[]>;
  readonly endpoints?: FakeRunOptions['endpoints'];
  readonly keeper?: FakeRunOptions['keeper'];
}

/** One endpoint that knows of siblings and of silent control planes. */
function serving({ facts = FEDERATED, siblings, silent, endpoints = {}, keeper = {} }: Scene): FakeRun {
  const run = new FakeRun({ keeper, endpoints: { services: ['backend'], ...endpoints } });
  runs.push(run);
  Object.assign(run.endpoint, {
    ...(siblings === undefined
      ? {}
      : { isLastOfService: (_key: unknown, _services: unknown, signal: AbortSignal) => siblings(signal) }),
    ...(silent === undefined
      ? {}
      : { silentControlPlanes: (_key: unknown, signal: AbortSignal) => silent(signal) }),
  });
  run.endpoints.learn(facts);
  run.serve();
  return run;
}

async function settled(run: FakeRun): Promise<number | undefined> {
  run.signal('SIGTERM');
  await run.untilEnded();
  run.endpoints.close();
  return run.child.signals[0]?.atMs;
}

describe('Supervisor: a federated zone', () => {
  test('the last of its service settles until other zones have been told', async () => {
    expect(await settled(serving({ siblings: answers(true) }))).toBe(8_250);
  });

  test('one of several does not', async () => {
    expect(await settled(serving({ siblings: answers(false) }))).toBe(2_250);
  });

  test('where that is not known within half a second, it may be the last', async () => {
    expect(await settled(serving({ siblings: hangs }))).toBe(500 + 8_250);
  });

  test('a zone ingress: until other zones know that it is gone', async () => {
    const departure = {
      key: { proxyType: 'ingress' as const, mesh: '', name: 'zi' },
      own: { incarnation: 'run-1', address: undefined },
    };
    const run = serving({ keeper: { departure }, endpoints: { key: departure.key, services: [] } });
    expect(await settled(run)).toBe(6_250);
  });

  test('not federated: no endpoint is asked', async () => {
    let asked = 0;
    const siblings = (): Promise<boolean> => {
      asked += 1;
      return Promise.resolve(true);
    };
    expect(await settled(serving({ facts: DEFAULT_FACTS, siblings }))).toBe(2_250);
    expect(asked).toBe(0);
  });

  test('--settle overrides it', async () => {
    const run = serving({ siblings: answers(true), endpoints: { settle: 1_000 } });
    expect(await settled(run)).toBe(1_000);
  });
});

describe('Supervisor: a silent control plane', () => {
  test('one that a companion names: Envoy serves for the drain time', async () => {
    const run = serving({ facts: DEFAULT_FACTS, silent: answers(['https://cp-2:5682']) });
    await settled(run);
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 30150']);
    const held = run.reports[0]?.steps.find(({ step }) => step === 'drain')?.detail?.['held'];
    expect(held).toEqual([
      expect.stringMatching(/^dataplanes of https:\/\/cp-2:5682 do not learn of the stop/),
    ]);
  });

  test('no silent control plane: a plain stop', async () => {
    const run = serving({ facts: DEFAULT_FACTS, silent: answers([]) });
    await settled(run);
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 2750']);
  });

  test('a companion that does not say so in time holds nothing', async () => {
    const run = serving({ facts: DEFAULT_FACTS, silent: hangs });
    await settled(run);
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 2750']);
  });

  test.for<{ readonly name: string; readonly first: Reply<ControlPlaneFacts>; readonly endMs: number }>([
    { name: 'it hangs', first: hangs, endMs: 30_150 },
    { name: 'it answers', first: answers(DEFAULT_FACTS), endMs: 2_750 },
  ])('a second endpoint that answered before: $name', async ({ first, endMs }) => {
    const run = serving({ facts: DEFAULT_FACTS });
    const second = new FakeEndpoint(run.clock, 'https://cp-2:5682', {
      check: [answers(DEFAULT_FACTS), first],
    });
    run.all.push(second);
    const over = new AbortController();
    run.endpoints.keepWarm(over.signal);
    await run.clock.settle();
    over.abort(new Error('no more looks'));
    await settled(run);
    expect(run.child.signals.at(-1)?.atMs).toBe(endMs);
  });

  test('a second endpoint that never answered is none of the zone', async () => {
    const run = serving({ facts: DEFAULT_FACTS });
    run.all.push(new FakeEndpoint(run.clock, 'https://cp-2:5682', { check: hangs }));
    await settled(run);
    expect(run.child.signals.at(-1)?.atMs).toBe(2_750);
  });
});
