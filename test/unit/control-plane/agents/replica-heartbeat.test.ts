import { expect, test } from 'vitest';

import { ReplicaHeartbeat } from '../../../../control-plane/agents/replica-heartbeat.ts';
import { deregistrarEvents } from '../../../../control-plane/events.ts';
import { STORE_LIMITS } from '../../../../control-plane/store/limits.ts';
import { MemoryDatabase } from '../../../support/fakes/memory-database.ts';
import { MemoryStore } from '../../../support/fakes/memory-store.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';

async function running(onBeat: (doubted: boolean) => Promise<void>) {
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
    held: () => ({ count: 0, epochs: 0 }),
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

test('heartbeats go on while what is to be written down waits for others', async () => {
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
