import { describe, expect, test } from 'vitest';

import type { AttemptResult, Store } from '../../../control-plane/ports.ts';
import { openStore } from '../../../control-plane/store/open-store.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { need } from '../../support/need.ts';
import { PgBouncer } from '../../support/postgres/pgbouncer.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { introductionOf, PostgresForTests } from './store-worlds.ts';

const DELETED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
const OURS = `application_name = 'kuma-deregistrar'`;
const web = introductionOf('web-1');

const pg = new PostgresForTests();

/** Calls the store often enough at once to open every session of the pool. @returns how many calls failed */
async function attachMany(store: Store): Promise<number> {
  const names = Array.from({ length: 24 }, (_, at) => introductionOf(`web-${at}`));
  const calls = await Promise.allSettled(names.map((name) => store.attach(name, 'replica-1')));
  return calls.filter(({ status }) => status === 'rejected').length;
}

async function sessions(): Promise<readonly number[]> {
  const query = `select pid from pg_stat_activity where ${OURS} and datname = '${pg.database}'`;
  return ((await pg.server.query(query)) as readonly { readonly pid: number }[]).map(({ pid }) => pid);
}

/** Breaks new sessions for good, like those of a demoted server; sessions after `mend` are good. */
async function spoil(setting: string): Promise<void> {
  await pg.server.query(`alter database ${pg.database} set ${setting}`);
  await pg.server.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${OURS}`);
}

const mend = (): Promise<unknown> => pg.server.query(`alter database ${pg.database} reset all`);

describe('a session of PostgreSQL that cannot serve any more', () => {
  test.each([
    ['is read-only after a failover', 'default_transaction_read_only = on'],
    ['has a role that may not write', 'role = pg_monitor'],
    ['has a role that may only read', 'role = pg_read_all_data'],
    ['does not see the tables', 'search_path = nowhere'],
  ])('is not used again: %s', async (_what, setting) => {
    const store = await pg.open();
    await spoil(setting);
    await waitUntil(async () => (await attachMany(store)) === 24, { what: 'spoilt sessions' });
    await mend();
    await attachMany(store);
    expect(await attachMany(store)).toBe(0);
  });

  test('that is read-only ends all older sessions: readers do not stay with the old server', async () => {
    const store = await pg.open();
    await spoil('default_transaction_read_only = on');
    await waitUntil(() => Promise.all(Array.from({ length: 24 }, () => store.records())), {
      what: 'readers at the old server',
    });
    const old = await sessions();
    expect(old.length).toBeGreaterThanOrEqual(8);
    await mend();
    await expect(store.attach(web, 'replica-1')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(await attachMany(store)).toBe(0);
    await Promise.all(Array.from({ length: 24 }, () => store.records()));
    expect((await sessions()).filter((pid) => old.includes(pid))).toEqual([]);
  });

  test('that only waited too long for a name is kept', async () => {
    const store = await pg.open();
    await store.attach(web, 'replica-1');
    const over = Promise.withResolvers<void>();
    const held = store.whileCurrent({ key: web.key, epoch: 1 }, () => over.promise);
    const before = await sessions();
    await expect(store.attach(web, 'replica-1')).rejects.toMatchObject({ code: 'STORE_BUSY' });
    expect(new Set(await sessions())).toEqual(new Set(before));
    over.resolve();
    await held;
  });
});

test.each([
  ['isolation: serializable', 'default_transaction_isolation = serializable'],
  ['isolation: repeatable read', `default_transaction_isolation = 'repeatable read'`],
  ['limit of a statement', 'statement_timeout = 1'],
  ['limit for a lock', 'lock_timeout = 1'],
  ['limit in a transaction', 'idle_in_transaction_session_timeout = 1'],
  ['form of dates', 'DateStyle = German'],
  ['quoting', 'standard_conforming_strings = off'],
])('another default of the database changes nothing: %s', async (_what, setting) => {
  const store = await pg.open();
  await spoil(setting);
  // The first calls notice that the earlier sessions have ended.
  await attachMany(store);
  expect(await attachMany(store)).toBe(0);
  await mend();
});

test('a server that ends sessions as soon as they are idle ends no process', async () => {
  const store = await pg.open();
  await spoil('idle_session_timeout = 1');
  for (let round = 0; round < 5; round += 1) await attachMany(store);
  await mend();
  await attachMany(store);
  expect(await attachMany(store)).toBe(0);
});

describe('PgBouncer in front of PostgreSQL', () => {
  test.for([
    ['transaction', undefined],
    ['transaction', 'statement_timeout, lock_timeout, idle_in_transaction_session_timeout'],
    ['session', undefined],
  ] as const)(
    'in %s mode, ignoring %s, locks names and keeps every limit',
    async ([poolMode, ignored], context) => {
      need(context, 'pgbouncer');
      await using bouncer = await PgBouncer.start(pg.server, {
        poolMode,
        ...(ignored === undefined ? {} : { ignoredStartupParameters: ignored }),
      });
      const url = pg.server.url(pg.database, bouncer.port);
      const store = await pg.open({ sessionMs: 1_500, leaseMs: 500 }, url);
      const other = await pg.open({}, url);
      await store.attach(web, 'replica-1');
      await store.leave(web, { replica: 'replica-1', headStartMs: 0 });
      const over = Promise.withResolvers<AttemptResult>();
      const attempt = store.attempt('next due', () => over.promise);
      attempt.catch(() => {});
      await waitUntil(isHeld, { what: 'the name to be held' });
      // The limit for a lock: the other replica gets an error, and does not wait for ever.
      await expect(other.attach(web, 'replica-2')).rejects.toMatchObject({ code: 'STORE_BUSY' });
      // The limit for a silent replica: PostgreSQL takes the name away from it.
      await waitUntil(() => other.attach(web, 'replica-2'), { what: 'the name to be free' });
      over.resolve(DELETED);
      await expect(attempt).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      expect(await attachMany(store)).toBe(0);
    },
  );

  test('in statement mode is refused with the reason', async (context) => {
    need(context, 'pgbouncer');
    await using bouncer = await PgBouncer.start(pg.server, { poolMode: 'statement' });
    await expect(
      openStore(pg.server.url(pg.database, bouncer.port), { clock: systemClock }),
    ).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    });
  });
});

async function isHeld(): Promise<boolean> {
  const rows = await pg.server.query(`select 1 from pg_stat_activity where state = 'idle in transaction'`);
  return rows.length > 0;
}
