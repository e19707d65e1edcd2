import Database from 'better-sqlite3';
import { Kysely, SqliteDialect, type CompiledQuery } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { attach, leave } from '../../../control-plane/store/attaching.ts';
import { readWanted, recordResult, wantedRows } from '../../../control-plane/store/deletions.ts';
import { departures, find } from '../../../control-plane/store/queries.ts';
import type { DataplaneRow, Schema } from '../../../control-plane/store/schema.ts';
import type { Session } from '../../../control-plane/store/session.ts';
import { detach, heartbeat, noteSilence, notePhase } from '../../../control-plane/store/streams.ts';
import { introductionOf, StoreWorld } from './store-worlds.ts';

const HERE = 'replica-1';
const web = introductionOf('web-1');
const at = { key: web.key, epoch: 1 };

/** What runs every second or two, and what runs for each agent that comes or goes. */
const OFTEN: Readonly<Record<string, (session: Session) => Promise<unknown>>> = {
  'what is due': (session) => wantedRows(session, { kind: 'due' }, 1).execute(),
  'what is due, of one replica': (session) =>
    wantedRows(session, { kind: 'due', mine: { share: 0, of: 1 } }, 1).execute(),
  'what is due, of three replicas': (session) =>
    wantedRows(session, { kind: 'due', mine: { share: 2, of: 3 } }, 1).execute(),
  'a heartbeat': (session) => heartbeat(session, HERE, 6_000),
  silence: (session) =>
    noteSilence(session, { self: 'asks', owedMs: 0, silentMs: 6_000, returnMs: () => 60_000, anew: false }),
  'an agent that attaches': (session) =>
    attach(session, introductionOf('new'), { replica: HERE, entry: { graceMs: 0 } }),
  'one that attaches again': (session) => attach(session, web, { replica: HERE, entry: { graceMs: 0 } }),
  'one that is detached': (session) => detach(session, at, { replica: HERE }),
  'one that says its phase': (session) => notePhase(session, at, { phase: 'running', serving: true }),
  'one that leaves': (session) => leave(session, web, { headStartMs: 0 }),
  'one that is found': (session) => find(session, web.key),
  'what became of one': (session) =>
    departures(session, { key: web.key, incarnation: web.incarnation, limit: 5 }),
  'a departure that ends': async (session) => {
    await readWanted(session, { kind: 'waiting', ...at }, 1);
    const [row] = await readWanted(session, { kind: 'current', ...at }, 1);
    await recordResult(session, row as DataplaneRow, {
      kind: 'ended',
      outcome: 'deleted',
      reason: 'its agent asked to leave',
      body: '{}',
    });
  },
};

/** The work for each agent that comes or goes, as named in {@link OFTEN}. */
const EACH_AGENT = [
  'an agent that attaches',
  'one that attaches again',
  'one that is detached',
  'one that says its phase',
  'one that leaves',
  'one that is found',
  'a departure that ends',
];

describe('SQLite answers from an index, whatever the number of records, for', () => {
  let world: StoreWorld;
  let sqlite: Database.Database;
  let db: Kysely<Schema>;
  let asked: CompiledQuery[] = [];

  beforeAll(async () => {
    world = await StoreWorld.start('sqlite');
    const path = await world.newLocation();
    const store = await world.open(path);
    for (let count = 1; count <= 20; count += 1) await store.attach(introductionOf(`web-${count}`), HERE);
    await world.close(store);
    sqlite = new Database(path);
    db = new Kysely<Schema>({
      dialect: new SqliteDialect({ database: sqlite }),
      log: ({ query }) => void asked.push(query),
    });
  });

  afterAll(async () => {
    sqlite.close();
    await world[Symbol.asyncDispose]();
  });

  test.for(Object.entries(OFTEN))('%s', async ([, ask]) => {
    const plans = await plansOf(ask);
    expect(plans.length).toBeGreaterThan(0);
    expect(plans.filter(({ plan }) => isSlow(plan))).toEqual([]);
  });

  // A temporary table costs 0.1 ms at each execution, even if it stays empty.
  test.for(EACH_AGENT)('%s, without a temporary table', async (what) => {
    const plans = await plansOf(OFTEN[what] ?? (() => Promise.reject(new Error(`Unknown: ${what}`))));
    expect(plans.length).toBeGreaterThan(0);
    expect(plans.filter(({ plan }) => sorts(plan))).toEqual([]);
  });

  const plansOf = async (ask: (session: Session) => Promise<unknown>) => {
    asked = [];
    sqlite.exec('begin');
    await ask({ kind: 'sqlite', db, nowMs: Date.now() });
    const plans = asked.map(({ sql, parameters }) => ({ sql, plan: planOf(sql, parameters) }));
    sqlite.exec('rollback');
    return plans;
  };

  const planOf = (sql: string, parameters: readonly unknown[]): readonly string[] =>
    sqlite
      .prepare<unknown[], { readonly detail: string }>(`explain query plan ${sql}`)
      .all(...parameters)
      .map(({ detail }) => detail);
});

/** Grows with the number of records: reads all of them, or sorts records of more than one name. */
function isSlow(plan: readonly string[]): boolean {
  const reads = plan.filter((step) => /^(?:SCAN|SEARCH) (?:dataplanes|departures|bodies)\b/.test(step));
  return reads.some((step) => step.startsWith('SCAN') || (sorts(plan) && !/name=\?|epoch=\?/.test(step)));
}

function sorts(plan: readonly string[]): boolean {
  return plan.some((step) => step.startsWith('USE TEMP B-TREE'));
}
