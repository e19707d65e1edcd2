import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { FleetChange } from '../../../../control-plane/page/fleet-change.pure.ts';
import type { FleetSnapshot } from '../../../../control-plane/page/fleet-view.pure.ts';
import type { DataplaneRecord } from '../../../../control-plane/records.pure.ts';
import { DepartureNotes } from '../../../../control-plane/page/departure-notes.ts';
import { deregistrarEvents } from '../../../../control-plane/events.ts';
import { FleetFeed, type FleetFeedDeps } from '../../../../control-plane/page/fleet-feed.ts';
import type { Store } from '../../../../control-plane/ports.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { recordOf } from '../../../support/fakes/dataplane-record.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const AWAY = new OperationalError('STORE_UNAVAILABLE', 'The database does not answer');

function record(name: string, more: Partial<DataplaneRecord> = {}): DataplaneRecord {
  return recordOf({
    key: { proxyType: 'dataplane', mesh: 'default', name },
    replica: 'cp-1',
    phase: 'running',
    ...more,
  });
}

describe('FleetFeed', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let records: readonly DataplaneRecord[];
  let readings: number;
  let costMs: number;
  let asked: number;
  let problem: Error | undefined;
  let feed: FleetFeed;
  let told: (readonly [FleetSnapshot, FleetChange | undefined])[];

  const listen = (snapshot: FleetSnapshot, change: FleetChange | undefined): void => {
    told.push([snapshot, change]);
  };

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    records = [record('b'), record('a')];
    readings = 0;
    costMs = 0;
    asked = 0;
    problem = undefined;
    told = [];
    const store: Pick<Store, 'kind' | 'nowMs' | 'records' | 'departures' | 'sidelinings'> = {
      kind: 'sqlite',
      nowMs: () => Promise.resolve(clock.wallMs()),
      records: () => {
        readings += 1;
        clock.advance(costMs);
        return problem === undefined ? Promise.resolve(records) : Promise.reject(problem);
      },
      departures: () => Promise.resolve([]),
      sidelinings: () => Promise.resolve([]),
    };
    const agent = { introduction: record('open'), epoch: 3, phase: 'running', leaving: false };
    const deps = {
      clock,
      events: deregistrarEvents(log),
      store,
      watch: { controlPlanes: [{ url: 'http://cp', seen: { problem: 'refused' }, upMs: 0 }] },
      agents: { [Symbol.iterator]: () => [agent].values() },
      heartbeat: { replicas: ['cp-1'], storeProblem: undefined },
      brakes: {
        standings: () => {
          asked += 1;
          return Promise.reject(AWAY);
        },
      },
      notes: new DepartureNotes(),
      search: { watchfulness: () => undefined },
      replica: 'cp-1',
    };
    // Exactly what it uses of them.
    feed = new FleetFeed(deps as unknown as FleetFeedDeps);
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  test('reads once for all who ask within a second', async () => {
    await Promise.all([feed.snapshot(), feed.snapshot()]);
    clock.advance(999);
    await feed.snapshot();
    expect(readings).toBe(1);
    clock.advance(1);
    expect((await feed.snapshot()).dataplanes.map(({ id }) => id)).toEqual(['default/a', 'default/b']);
    expect(readings).toBe(2);
  });

  test('sends the state, then only changes, and reads nothing while no page follows', async () => {
    const unfollow = feed.follow(listen);
    await clock.pass(3_500);
    records = [record('a')];
    await clock.pass(1_000);
    unfollow();
    await clock.pass(10_000);
    expect(told.map(([{ dataplanes }, change]) => [dataplanes.length, change?.gone])).toEqual([
      [2, undefined],
      [1, ['default/b']],
    ]);
    expect(readings).toBe(5);
  });

  test('a later follower gets the current state at once', async () => {
    const first = feed.follow(() => undefined);
    await clock.settle();
    const second = feed.follow(listen);
    expect(told.map(([{ dataplanes }, change]) => [dataplanes.length, change])).toEqual([[2, undefined]]);
    first();
    second();
  });

  test('a reading that takes long is made less often', async () => {
    costMs = 500;
    const unfollow = feed.follow(listen);
    await clock.pass(11_500);
    unfollow();
    expect(readings).toBe(3);
  });

  test('reads the brake every ten seconds, and when it holds others back', async () => {
    const unfollow = feed.follow(listen);
    await clock.pass(9_500);
    expect(asked).toBe(1);
    records = [record('a', { state: 'lost', guard: 'brake' })];
    await clock.pass(1_000);
    expect(asked).toBe(2);
    await clock.pass(10_000);
    unfollow();
    expect(asked).toBe(3);
  });

  test('shows the open streams while the store is away, and why', async () => {
    problem = AWAY;
    const { head, dataplanes, departures } = await feed.snapshot();
    expect([head.store, dataplanes.map(({ id, epoch }) => [id, epoch]), departures]).toEqual([
      { kind: 'sqlite', problem: 'The database does not answer' },
      [['default/open', 3]],
      [],
    ]);
  });

  test('goes on after a bug, which is logged', async () => {
    problem = new TypeError('a bug');
    const unfollow = feed.follow(listen);
    await clock.pass(500);
    problem = undefined;
    await clock.pass(1_000);
    unfollow();
    expect(log.events).toEqual(['deregistrar.failed']);
    expect(told).toHaveLength(1);
  });
});
