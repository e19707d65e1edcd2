import { describe, expect, test } from 'vitest';

import type { AttemptResult, Store } from '../../../control-plane/ports.ts';
import { introductionOf, openStores, STORE_KINDS } from './store-worlds.ts';

const DELETED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
const HERE = 'replica-1';

describe.for(STORE_KINDS)('what the %s store keeps of departures', (kind) => {
  let store: Store;

  openStores(kind, (opened) => {
    ({ store } = opened);
  });

  const web = introductionOf('web-1');
  const leave = (name: string) => store.leave(introductionOf(name), { replica: HERE, headStartMs: 0 });

  test('lists the bodies of objects that were deleted for one of some causes', async () => {
    await leave('requested');
    await store.attempt('next due', () => Promise.resolve({ ...DELETED, body: '{"version":1}' }));
    await store.beginSweep(introductionOf('swept').key);
    await store.attempt('next due', () => Promise.resolve({ ...DELETED, body: '{"version":2}' }));
    expect(await store.deletedBodies(0, ['sweep', 'fallback'])).toMatchObject([
      { resource: '{"version":2}' },
    ]);
    expect(await store.deletedBodies(0)).toHaveLength(2);
  });

  test('prune() keeps the newest three bodies and a hundred departures of a name, and all of other names', async () => {
    await leave('web-2');
    await store.attempt('next due', () => Promise.resolve({ ...DELETED, body: '{"version":0}' }));
    for (let run = 1; run <= 105; run += 1) {
      await store.leave({ ...web, incarnation: `run-${run}` }, { replica: HERE, headStartMs: 0 });
      await store.attempt('next due', () => Promise.resolve({ ...DELETED, body: `{"version":${run}}` }));
    }
    await store.prune(0);
    expect((await store.deletedBodies(0)).map(({ resource }) => resource)).toEqual([
      '{"version":0}',
      '{"version":103}',
      '{"version":104}',
      '{"version":105}',
    ]);
    const kept = await store.departures({ key: web.key, limit: 1_000 });
    expect(kept.map(({ incarnation }) => incarnation)).toEqual(
      Array.from({ length: 100 }, (_, run) => `run-${105 - run}`),
    );
    expect(await store.departures({ limit: 1_000 })).toHaveLength(101);
  });

  test('prune() keeps 64 MiB of bodies, the largest go first', async () => {
    const large = `"${'x'.repeat(8 * 1_024 * 1_024)}"`;
    for (let each = 0; each < 9; each += 1) {
      await leave(`large-${each}`);
      await store.attempt('next due', () => Promise.resolve({ ...DELETED, body: large }));
      await leave(`small-${each}`);
      await store.attempt('next due', () => Promise.resolve({ ...DELETED, body: '{}' }));
    }
    await store.prune(0);
    const kept = (await store.deletedBodies(0)).map(({ key }) => key.name);
    expect(kept.filter((name) => name.startsWith('small'))).toHaveLength(9);
    expect(kept.filter((name) => name.startsWith('large'))).toEqual(
      [8, 7, 6, 5, 4, 3, 2].map((each) => `large-${each}`).toSorted(),
    );
  });
});
