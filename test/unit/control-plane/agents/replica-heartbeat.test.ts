import { expect, test } from 'vitest';

import { ReplicaHeartbeat } from '../../../../control-plane/agents/replica-heartbeat.ts';
import type { StreamSum } from '../../../../control-plane/ports.ts';
import { deregistrarEvents } from '../../../../control-plane/events.ts';
import { STORE_LIMITS } from '../../../../control-plane/store/limits.ts';
import { MemoryDatabase } from '../../../support/fakes/memory-database.ts';
import { MemoryStore } from '../../../support/fakes/memory-store.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';

async function running(
  onBeat: (doubted: boolean) => Promise<void>,
  held: () => StreamSum | undefined = () => ({ count: 0, epochs: 0 }),
) {
  const clock = new FakeClock();
  const database = new MemoryDatabase('postgres', clock, STORE_LIMITS.lockWaitMs);
  const store = new MemoryStore(database, { clock });
  const log = new FakeLog();
  const heartbeat = new ReplicaHeartbeat({
    clock,
    events: deregistrarEvents(log),
    store,
    replica: 'here-1',
    nudge: () => {},
    onBeat,
    onDoubt: () => {},
    held,
    busyMs: () => 0,
    onExpected: () => Promise.resolve(),
  });
  const over = new AbortController();
  const ended = heartbeat.run(over.signal);
  await clock.settle();
  const stop = async (): Promise<void> => {
    over.abort(new Error('The test ends'));
    await ended;
  };
  return { clock, database, log, stop };
}

test('heartbeats continue while other writes wait', async () => {
  const stuck = Promise.withResolvers<void>();
  const beats: boolean[] = [];
  const { clock, database, stop } = await running((doubted) => {
    beats.push(doubted);
    return stuck.promise;
  });
  await clock.pass(30_000);
  expect(database.tables.replicas.get('here-1')).toBe(clock.wallMs());
  expect(beats).toEqual([false]);
  stuck.resolve();
  await stop();
});

test('a doubt that arises meanwhile is not forgotten', async () => {
  let stuck = Promise.withResolvers<void>();
  const beats: boolean[] = [];
  const { clock, stop } = await running((doubted) => {
    beats.push(doubted);
    return stuck.promise;
  });
  clock.skip(20_000);
  await clock.pass(4_000);
  const first = stuck;
  stuck = Promise.withResolvers<void>();
  stuck.resolve();
  first.resolve();
  await clock.pass(2_500);
  expect(beats.slice(0, 2)).toEqual([false, true]);
  await stop();
});

test('a bug in it is reported, and the heartbeats go on', async () => {
  const { clock, database, log, stop } = await running(() => Promise.reject(new TypeError('a bug')));
  await clock.pass(4_000);
  expect(log.events).toEqual(['deregistrar.failed', 'deregistrar.failed', 'deregistrar.failed']);
  expect(database.tables.replicas.get('here-1')).toBe(clock.wallMs());
  await stop();
});

test.for<{
  readonly name: string;
  readonly sums: readonly (StreamSum | undefined)[];
  readonly doubts: boolean;
}>([
  { name: 'other streams than the store has, twice in a row', sums: [{ count: 1, epochs: 7 }], doubts: true },
  { name: 'agents that come and go', sums: [undefined], doubts: false },
  {
    name: 'a herd: the streams are others after each answer',
    sums: Array.from({ length: 50 }, (_, at) => ({ count: at + 1, epochs: at + 1 })),
    doubts: false,
  },
])('$name: doubted is $doubts', async ({ sums, doubts }) => {
  const beats: boolean[] = [];
  let asked = 0;
  const { clock, stop } = await running(
    (doubted) => {
      beats.push(doubted);
      return Promise.resolve();
    },
    () => sums[asked++ % sums.length],
  );
  await clock.pass(9_000);
  expect(beats.length).toBeGreaterThan(3);
  expect(beats.includes(true)).toBe(doubts);
  await stop();
});
