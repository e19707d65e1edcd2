import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

import { describe, expect, test } from 'vitest';

import type { AttemptResult, Fence, Store } from '../../../control-plane/ports.ts';
import { openStore } from '../../../control-plane/store/open-store.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { introductionOf, PostgresForTests, tick } from './store-worlds.ts';

const DELETED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
const PATIENT = { lockWaitMs: 20_000, statementMs: 20_000 };
const UNAVAILABLE = { code: 'STORE_UNAVAILABLE', retryable: true };

function leave(store: Store, name: string): Promise<unknown> {
  return store.leave(introductionOf(name), { replica: 'replica-1', headStartMs: 0 });
}

function answers(store: Store): Promise<unknown> {
  return waitUntil(() => store.nowMs(), { what: 'the store to be back', pollMs: 20 });
}

/** Whether so many connections wait for a lock that another one has. */
async function areLocked(server: PostgresServer, database: string, count: number): Promise<boolean> {
  const text = `select count(*)::int as count from pg_stat_activity where wait_event_type = 'Lock' and datname = '${database}'`;
  const [row] = (await server.query(text)) as readonly { readonly count: number }[];
  return row?.count === count;
}

function isLost(fence: Fence): boolean {
  try {
    fence.assertHeld();
    return false;
  } catch {
    return true;
  }
}

/** Passes connections on to `port`, and counts how often a client spoke after the server had. */
async function roundTrips(port: number) {
  const counted = { trips: 0, port: 0 };
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let isClientsTurn = true;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.on('data', (chunk) => {
      if (isClientsTurn) counted.trips += 1;
      isClientsTurn = false;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      isClientsTurn = true;
      client.write(chunk);
    });
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  counted.port = (proxy.address() as AddressInfo).port;
  return Object.assign(counted, {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  });
}

describe('stores on one PostgreSQL', () => {
  const pg = new PostgresForTests();
  const web = introductionOf('web-1');

  test('move a sequence that is behind its rows, as after a failover to a logical replica, above them', async () => {
    const store = await pg.open();
    for (let at = 0; at < 30; at += 1) await store.attach(introductionOf(`web-${at}`), 'replica-1');
    await pg.server.query(`select setval('epochs', 1, false)`, pg.database);
    const names = ['new-1', 'new-2', 'new-3'];
    const given = await Promise.all(names.map((name) => store.attach(introductionOf(name), 'replica-1')));
    const epochs = given.map((each) => (each.kind === 'attached' ? each.epoch : 0));
    expect(Math.min(...epochs)).toBeGreaterThan(30);
    expect(new Set(epochs).size).toBe(3);
    expect(given[0]).toMatchObject({ raised: true });
  });

  /** Names that another replica holds meanwhile. */
  const hold = async (names: readonly string[]) => {
    const [store, other] = [await pg.open(PATIENT), await pg.open(PATIENT)];
    const over = Promise.withResolvers<void>();
    const held: Promise<unknown>[] = [];
    for (const name of names) {
      const given = await other.attach(introductionOf(name), 'replica-2');
      const epoch = given.kind === 'attached' ? given.epoch : 0;
      const begun = Promise.withResolvers<undefined>();
      const act = (): Promise<void> => {
        begun.resolve(undefined);
        return over.promise;
      };
      held.push(other.whileCurrent({ key: introductionOf(name).key, epoch }, act));
      await begun.promise;
    }
    const release = async (): Promise<void> => {
      over.resolve();
      await Promise.all(held);
    };
    return { store, release };
  };

  test('let neither heartbeats nor leaving agents wait for connections that others have taken', async () => {
    const names = Array.from({ length: 10 }, (_, at) => `held-${at}`);
    const { store, release } = await hold(names);
    const attaching = names.map((name) => store.attach(introductionOf(name), 'replica-1'));
    const order: string[] = [];
    await waitUntil(() => areLocked(pg.server, pg.database, 8), { what: 'all connections to be taken' });
    const others = store.nowMs().then(() => order.push('others'));
    expect(await store.heartbeat('replica-1', 60_000)).toMatchObject({ replicas: ['replica-1'] });
    expect(await leave(store, 'web-1')).toMatchObject({ kind: 'leaving' });
    order.push('heartbeat and stop');
    await release();
    await Promise.all([others, ...attaching]);
    expect(order).toEqual(['heartbeat and stop', 'others']);
  });

  test('take one connection for one name, however many callers want it', async () => {
    const { store, release } = await hold(['held']);
    const attaching = Array.from({ length: 40 }, () => store.attach(introductionOf('held'), 'replica-1'));
    const leaving = Array.from({ length: 40 }, () => leave(store, 'held'));
    await waitUntil(() => areLocked(pg.server, pg.database, 1), {
      what: 'one of them to wait at the database',
    });
    expect(await store.nowMs()).toBeGreaterThan(0);
    expect(await leave(store, 'web-1')).toMatchObject({ kind: 'leaving' });
    expect(await areLocked(pg.server, pg.database, 1)).toBe(true);
    await release();
    await Promise.all([...attaching, ...leaving]);
  });

  test('upgrade a database of 0.1.0 in place, and keep its contents', async () => {
    const before = await pg.open();
    await before.attach(web, 'replica-1');
    await before.close();
    await pg.server.query(
      `alter table dataplanes drop column serving, drop column unseen, drop column peer;
       drop table instances; drop table zones; drop table sidelinings; drop table acquaintances; drop index dataplanes_due_at_epoch;
      drop index dataplanes_replica_state_epoch; create index dataplanes_due_at on dataplanes (due_at);
      create index dataplanes_replica on dataplanes (replica);
      delete from kysely_migration where name in ('0002-evidence', '0003-scale', '0004-witnesses')`,
      pg.database,
    );
    const store = await pg.open();
    expect(await store.find(web.key)).toMatchObject({ epoch: 1, state: 'attached' });
    expect(await store.bindZone({ name: 'a', clusterId: undefined })).toMatchObject({ name: 'a' });
  });

  test('migrate once when they start at once', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => pg.open()));
    await Promise.all(stores.map((store, index) => leave(store, `web-${index}`)));
    const epochs = (await stores.at(0)?.records())?.map(({ epoch }) => epoch);
    expect(epochs).toEqual([1, 2, 3, 4]);
  });

  test('advance time although the server’s clock is set back, for old replicas and a new one', async () => {
    const store = await pg.open();
    const HOUR_MS = 3_600_000;
    await store.heartbeat('replica-1', HOUR_MS);
    await store.attach(introductionOf('web-1'), 'replica-1');
    await leave(store, 'web-2');
    await store.attempt('next due', () => Promise.resolve({ kind: 'later', afterMs: 50, reason: 'not yet' }));
    // Found before the real one.
    await pg.server.query(
      `create schema later;
       create function later.clock_timestamp() returns timestamptz language sql
         as $$ select pg_catalog.clock_timestamp() - interval '1 hour' $$;
       alter database ${pg.database} set search_path = later, pg_catalog, public`,
      pg.database,
    );
    const beforeMs = await store.nowMs();
    await pg.server.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${pg.database}'`,
    );
    await answers(store);
    const newcomer = await pg.open();
    expect(await newcomer.heartbeat('replica-2', 60_000)).toMatchObject({
      replicas: ['replica-1', 'replica-2'],
    });
    expect(await newcomer.nowMs()).toBeGreaterThan(beforeMs - 60_000);
    await tick(store);
    await tick(newcomer);
    expect(
      await store.noteSilence({ self: 'asks', owedMs: 0, silentMs: 60_000, returnMs: () => 0, anew: false }),
    ).toMatchObject({
      unseen: 0,
      lost: 0,
    });
    await waitUntil(() => newcomer.attempt('next due', () => Promise.resolve(DELETED)), {
      what: 'what was put off to be due',
    });
  });

  test('take at most eight round trips for a departure, from its request to its end', async () => {
    await using counted = await roundTrips(pg.server.port);
    const store = await pg.open({}, pg.server.url(pg.database, counted.port));
    const withBody: AttemptResult = { ...DELETED, body: '{}' };
    const depart = async (name: string) => {
      const { key } = introductionOf(name);
      const given = await store.attach(introductionOf(name), 'replica-1');
      const before = counted.trips;
      await leave(store, name);
      if (given.kind !== 'attached') throw new Error(given.kind);
      const ended = await store.attempt({ key, epoch: given.epoch }, () => Promise.resolve(withBody));
      expect(ended?.record.state).toBe('leaving');
      return counted.trips - before;
    };
    // Both pools open their connections.
    await depart('web-0');
    expect(await depart('web-1')).toBeLessThanOrEqual(8);
    expect(await store.records()).toEqual([]);
    expect(await store.lastDeletedBody(introductionOf('web-1').key)).toMatchObject({ resource: '{}' });
  });

  test('refuse to open with a newer schema', async () => {
    await pg.open();
    await pg.server.query(
      `insert into kysely_migration values ('9999-of-the-future', '2999-01-01T00:00:00.000Z')`,
      pg.database,
    );
    await expect(pg.open()).rejects.toMatchObject({
      code: 'STORE_UNUSABLE',
      message: `Cannot use the database 127.0.0.1:${pg.server.port}/${pg.database}: a newer kuma-deregistrar has changed it (9999-of-the-future); start that version again, or give this one a store of its own`,
    });
  });

  test('never work on the same record', async () => {
    const stores = await Promise.all([pg.open(), pg.open(), pg.open()]);
    const names = Array.from({ length: 60 }, (_, index) => `web-${index}`);
    await Promise.all(names.map((name, index) => leave(stores[index % 3] as Store, name)));
    const held = new Set<string>();
    const seen: string[] = [];
    const work = async (store: Store): Promise<void> => {
      const attempt = await store.attempt('next due', async ({ key }) => {
        expect(held).not.toContain(key.name);
        held.add(key.name);
        seen.push(key.name);
        await tick(store);
        held.delete(key.name);
        return DELETED;
      });
      if (attempt !== undefined) await work(store);
    };
    await Promise.all(stores.flatMap((store) => [work(store), work(store), work(store), work(store)]));
    expect(seen.toSorted()).toEqual(names.toSorted());
  });

  test('queue more attempts than there are connections, and keep their bodies', async () => {
    const store = await pg.open();
    const names = Array.from({ length: 40 }, (_, index) => `web-${index}`);
    await Promise.all(names.map((name) => leave(store, name)));
    const attempts = names.map(() =>
      store.attempt('next due', async (record, fence) => {
        await fence.keepBody(JSON.stringify(record.key));
        return DELETED;
      }),
    );
    expect((await Promise.all(attempts)).filter((attempt) => attempt === undefined)).toEqual([]);
    expect((await store.deletedBodies(0)).length).toBe(40);
  });

  test('let an agent that attaches at one replica wait for a deletion at the other, and survive it', async () => {
    const [one, other] = await Promise.all([pg.open(PATIENT), pg.open(PATIENT)]);
    await leave(one, 'web-1');
    const steps: string[] = [];
    let attached: Promise<unknown> | undefined;
    await one.attempt('next due', async () => {
      attached = other.attach({ ...web, incarnation: 'second' }, 'replica-2').then((attachment) => {
        steps.push('attached');
        return attachment;
      });
      await waitUntil(() => waiting(), { what: 'the attach to wait', pollMs: 10 });
      steps.push('deleted');
      return DELETED;
    });
    expect(await attached).toEqual({ kind: 'attached', epoch: 2, leaving: false });
    expect(steps).toEqual(['deleted', 'attached']);
    expect(await one.attempt('next due', () => Promise.resolve(DELETED))).toBeUndefined();
    expect(await other.departures({ limit: 5 })).toMatchObject([{ epoch: 1, outcome: 'deleted' }]);
  });

  test('give two agents that attach under one name different epochs; the last one has the name', async () => {
    const [one, other] = await Promise.all([pg.open(), pg.open()]);
    const attachments = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        (index % 2 === 0 ? one : other).attach({ ...web, incarnation: `run-${index}` }, 'replica-1'),
      ),
    );
    const epochs = attachments.map((attachment) => attachment.kind === 'attached' && attachment.epoch);
    expect(epochs.toSorted((a, b) => Number(a) - Number(b))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await one.records()).toMatchObject([{ epoch: 10 }]);
    expect((await one.departures({ limit: 20 })).map(({ outcome }) => outcome)).toEqual(
      Array.from({ length: 9 }, () => 'superseded'),
    );
  });

  test('leave a name to the agent when a sweep and an attach come at once', async () => {
    const [one, other] = await Promise.all([pg.open(), pg.open()]);
    for (let round = 0; round < 10; round += 1) {
      const introduction = introductionOf(`web-${round}`);
      await Promise.all([one.beginSweep(introduction.key), other.attach(introduction, 'replica-2')]);
      expect(await one.find(introduction.key)).toMatchObject({ state: 'attached', incarnation: 'first' });
    }
  });

  test('keep a replica that was paused with a name from deleting: its lease ends before the name is free', async () => {
    const [paused, other] = await Promise.all([pg.open({ leaseMs: 150, sessionMs: 600 }), pg.open(PATIENT)]);
    await leave(paused, 'web-1');
    let fenceError: unknown;
    const freed = Promise.withResolvers<unknown>();
    const attempt = paused.attempt('next due', async (_record, fence) => {
      const attached = other.attach({ ...web, incarnation: 'second' }, 'replica-2');
      await waitUntil(
        () => {
          try {
            fence.assertHeld();
            return false;
          } catch (error) {
            fenceError = error;
            return true;
          }
        },
        { what: 'the lease to end', pollMs: 5 },
      );
      expect(await Promise.race([attached, Promise.resolve('still waiting')])).toBe('still waiting');
      freed.resolve(await attached);
      expect(() => {
        fence.assertHeld();
      }).toThrow(expect.objectContaining({ code: 'FENCE_LOST' }));
      return DELETED;
    });
    expect(await freed.promise).toEqual({ kind: 'attached', epoch: 2, leaving: false });
    await expect(attempt).rejects.toMatchObject(UNAVAILABLE);
    expect(fenceError).toMatchObject({
      code: 'FENCE_LOST',
      message: expect.stringMatching(/^Cannot delete: the lock on the name is \d+ ms old and lasts 150 ms$/),
    });
    expect(await other.find(web.key)).toMatchObject({ epoch: 2, state: 'attached' });
    expect(await other.departures({ limit: 5 })).toMatchObject([{ epoch: 1, outcome: 'superseded' }]);
    expect(await paused.attach(web, 'replica-1')).toEqual({ kind: 'superseded' });
  });

  test('make an attempt due again when the database crashes in its middle, and lose nothing', async () => {
    const store = await pg.open({ leaseMs: 3_600_000 });
    await leave(store, 'web-1');
    const before = await store.records();
    const attempt = store.attempt('next due', async (_record, fence) => {
      await fence.keepBody('{"kept":true}');
      await pg.server.stop('immediate');
      await waitUntil(() => isLost(fence), { what: 'the connection to be lost' });
      return DELETED;
    });
    await expect(attempt).rejects.toMatchObject(UNAVAILABLE);
    await pg.server.resume();
    await answers(store);
    expect([await store.records(), await store.departures({ limit: 1 })]).toEqual([before, []]);
    expect(await store.lastDeletedBody(web.key)).toMatchObject({ resource: '{"kept":true}' });
    expect(await store.attempt('next due', () => Promise.resolve(DELETED))).toMatchObject({
      record: { attempts: 0 },
    });
  });

  test('report that the database is down, then continue', async () => {
    const store = await pg.open();
    await leave(store, 'web-1');
    await pg.server.stop();
    for (const call of [
      () => store.nowMs(),
      () => store.attach(web, 'replica-1'),
      () => leave(store, 'web-2'),
      () => store.attempt('next due', () => Promise.resolve(DELETED)),
      () => store.heartbeat('replica-1', 1_000),
    ]) {
      await expect(call()).rejects.toMatchObject(UNAVAILABLE);
    }
    await expect(pg.open()).rejects.toMatchObject(UNAVAILABLE);
    await pg.server.resume();
    await answers(store);
    expect(await store.attempt('next due', () => Promise.resolve(DELETED))).toBeDefined();
  });

  test('let no caller wait for long, not even in the queue, when the database accepts everything and answers nothing', async () => {
    await using proxy = await FaultProxy.start(`http://127.0.0.1:${pg.server.port}`);
    const limits = { statementMs: 300 };
    const store = await pg.open(limits, pg.server.url(pg.database, proxy.port));
    await leave(store, 'web-1');
    await proxy.become({ kind: 'silence' });
    const startedMs = performance.now();
    const calls = Array.from({ length: 60 }, (_, index) => leave(store, `web-${index}`));
    const settled = await Promise.allSettled([
      ...calls,
      store.attempt('next due', () => Promise.resolve(DELETED)),
    ]);
    const tookMs = performance.now() - startedMs;
    expect(settled.map((one) => one.status === 'rejected' && (one.reason as { code: string }).code)).toEqual(
      settled.map(() => 'STORE_UNAVAILABLE'),
    );
    // Eight at a time would take eight times as long.
    expect(tookMs).toBeLessThan(8 * 800);
    await proxy.become({ kind: 'pass' });
    await answers(store);
    await proxy.become({ kind: 'silence' });
    await store.close();
  });

  test('replace connections that the administrator ends, and leave no name taken', async () => {
    const store = await pg.open();
    await leave(store, 'web-1');
    const attempt = store.attempt('next due', async () => {
      await pg.server.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kuma-deregistrar'`,
      );
      return DELETED;
    });
    await expect(attempt).rejects.toMatchObject(UNAVAILABLE);
    await answers(store);
    expect(await store.attempt('next due', () => Promise.resolve(DELETED))).toBeDefined();
  });

  test('report the original error, also if the connection was lost meanwhile', async () => {
    const store = await pg.open({ leaseMs: 3_600_000 });
    await leave(store, 'web-1');
    const failure = new Error('no answer');
    const attempt = store.attempt('next due', async (_record, fence) => {
      await pg.server.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kuma-deregistrar'`,
      );
      await waitUntil(() => isLost(fence), { what: 'the connection to be lost' });
      throw failure;
    });
    await expect(attempt).rejects.toBe(failure);
  });

  test('report an unreachable database without the password', async () => {
    await pg.server.stop();
    const url = pg.server.url(pg.database).replace('kuma@', 'kuma:secret@');
    const error: unknown = await openStore(url, { clock: systemClock }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      ...UNAVAILABLE,
      message: `Cannot use the database 127.0.0.1:${pg.server.port}/${pg.database}`,
    });
  });

  async function waiting(): Promise<boolean> {
    const rows = await pg.server.query(
      `select 1 from pg_stat_activity where application_name = 'kuma-deregistrar' and wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  }
});
