import { sql } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Store, StreamCounts } from '../ports.ts';
import type { Acquaintance, DataplaneRecord, SideliningRecord } from '../records.pure.ts';
import { keyColumns, recordOf } from './rows.ts';
import type { SideliningRow } from './schema.ts';
import { isNamed, type Session } from './session.ts';

type SideliningReads = Pick<Session, 'db'>;

/** How many rows one statement writes at most. */
const ROWS = 1_000;

/** One replica decides at a time, so that the next one counts its sidelinings. */
export async function reserve(
  session: Session,
  choose: Parameters<Store['reserveSidelinings']>[0],
): Promise<readonly SideliningRecord[]> {
  const { kind, db, nowMs } = session;
  if (kind === 'postgres')
    await sql`select pg_advisory_xact_lock(hashtextextended('kuma-deregistrar sidelinings', 0))`.execute(db);
  const known = await db.selectFrom('sidelinings').selectAll().execute();
  const chosen = choose(known.map(sideliningOf), nowMs);
  for (const each of chosen) await keep(session, each);
  return chosen;
}

export async function keep({ db }: SideliningReads, record: SideliningRecord): Promise<void> {
  const { key, stage, beganAtMs: began_at, dueAtMs } = record;
  const columns = { stage, began_at, due_at: Math.ceil(dueAtMs), record: JSON.stringify(record) };
  await db
    .insertInto('sidelinings')
    .values({ ...keyColumns(key), ...columns })
    .onConflict((conflict) => conflict.columns(['proxy_type', 'mesh', 'name']).doUpdateSet(columns))
    .execute();
}

export async function findAny(
  { db }: SideliningReads,
  key: DataplaneKey,
): Promise<SideliningRecord | undefined> {
  const row = await db.selectFrom('sidelinings').selectAll().where(isNamed(key)).executeTakeFirst();
  return row === undefined ? undefined : sideliningOf(row);
}

export async function find(look: SideliningReads, key: DataplaneKey): Promise<SideliningRecord | undefined> {
  const found = await findAny(look, key);
  return found?.stage === 'released' ? undefined : found;
}

export async function active({ db }: SideliningReads): Promise<readonly SideliningRecord[]> {
  const rows = await db
    .selectFrom('sidelinings')
    .selectAll()
    .where('stage', '<>', 'released')
    .orderBy('began_at')
    .execute();
  return rows.map(sideliningOf);
}

export async function due({ db, nowMs }: Session, limit: number): Promise<readonly SideliningRecord[]> {
  const rows = await db
    .selectFrom('sidelinings')
    .leftJoin('dataplanes', (join) =>
      join
        .onRef('dataplanes.proxy_type', '=', 'sidelinings.proxy_type')
        .onRef('dataplanes.mesh', '=', 'sidelinings.mesh')
        .onRef('dataplanes.name', '=', 'sidelinings.name')
        .on('dataplanes.state', '=', 'attached')
        .on('dataplanes.serving', '=', 1),
    )
    .selectAll('sidelinings')
    .where('sidelinings.stage', '<>', 'released')
    .where((row) =>
      row.or([
        row('sidelinings.due_at', '<=', nowMs),
        row.and([row('dataplanes.epoch', 'is not', null), row('sidelinings.stage', '=', 'out')]),
      ]),
    )
    .orderBy('sidelinings.due_at')
    .limit(limit)
    .execute();
  return rows.map(sideliningOf);
}

export async function noteAcquaintances({ db }: Session, reached: readonly Acquaintance[]): Promise<void> {
  const latest = new Map(
    reached.map((each) => [JSON.stringify([each.place, each.subject, each.witness]), each]),
  );
  const rows = [...latest.values()].map(({ place, subject, witness, reachedAtMs }) => ({
    place,
    subject,
    witness,
    reached_at: Math.floor(reachedAtMs),
  }));
  for (let at = 0; at < rows.length; at += ROWS)
    await db
      .insertInto('acquaintances')
      .values(rows.slice(at, at + ROWS))
      .onConflict((conflict) =>
        conflict
          .columns(['place', 'subject', 'witness'])
          .doUpdateSet((row) => ({ reached_at: row.ref('excluded.reached_at') })),
      )
      .execute();
}

export async function acquaintances(
  { db }: SideliningReads,
  places: readonly string[],
  sinceMs: number,
): Promise<readonly Acquaintance[]> {
  const found: Acquaintance[] = [];
  for (let at = 0; at < places.length; at += ROWS) {
    const rows = await db
      .selectFrom('acquaintances')
      .selectAll()
      .where('place', 'in', places.slice(at, at + ROWS))
      .where('reached_at', '>=', Math.floor(sinceMs))
      .execute();
    for (const { place, subject, witness, reached_at: reachedAtMs } of rows)
      found.push({ place, subject, witness, reachedAtMs });
  }
  return found;
}

export async function streamCounts({ db }: SideliningReads, sinceMs: number): Promise<StreamCounts> {
  const { attached } = await db
    .selectFrom('dataplanes')
    .select(({ fn }) => fn.countAll<number>().as('attached'))
    .where('state', '=', 'attached')
    .executeTakeFirstOrThrow();
  const lost = await db
    .selectFrom('dataplanes')
    .select('lost_at')
    .where('state', '=', 'lost')
    .where('lost_at', '>=', Math.floor(sinceMs))
    .execute();
  return { attached, lostAtMs: lost.map((row) => row.lost_at ?? 0) };
}

export async function lostSince(
  { db }: SideliningReads,
  sinceMs: number,
): Promise<readonly DataplaneRecord[]> {
  const rows = await db
    .selectFrom('dataplanes')
    .selectAll()
    .where('state', '=', 'lost')
    .where('lost_at', '>=', Math.floor(sinceMs))
    .execute();
  return rows.map(recordOf);
}

/** Deletes sidelinings that are over, and acquaintances that are not valid any more. */
export async function prune({ db, nowMs }: Session, keepMs: number): Promise<void> {
  const beforeMs = nowMs - keepMs;
  await db
    .deleteFrom('sidelinings')
    .where('stage', '=', 'released')
    .where('began_at', '<', beforeMs)
    .execute();
  await db.deleteFrom('acquaintances').where('reached_at', '<', beforeMs).execute();
}

function sideliningOf({ record }: SideliningRow): SideliningRecord {
  return JSON.parse(record) as SideliningRecord;
}
