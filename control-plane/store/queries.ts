import { sql } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import { RESOURCE_HEAD } from '../records.pure.ts';
import type {
  Cause,
  DataplaneRecord,
  DeletedBody,
  KnownDeparture,
  RecordCount,
  RecordSummary,
} from '../records.pure.ts';
import type { Store } from '../ports.ts';
import { bodyOf, knownDepartureOf, recordOf, storedCause, SUMMARY_COLUMNS, summaryOf } from './rows.ts';
import { isNamed, type Session } from './session.ts';

type SessionReads = Pick<Session, 'db'>;

export async function find({ db }: SessionReads, key: DataplaneKey): Promise<DataplaneRecord | undefined> {
  const row = await db.selectFrom('dataplanes').selectAll().where(isNamed(key)).executeTakeFirst();
  return row === undefined ? undefined : recordOf(row);
}

export async function records({ db }: SessionReads): Promise<readonly RecordSummary[]> {
  const rows = await db
    .selectFrom('dataplanes')
    .select(SUMMARY_COLUMNS)
    .select(sql<string | null>`substr(resource, 1, ${sql.lit(RESOURCE_HEAD)})`.as('head'))
    .orderBy('epoch')
    .execute();
  return rows.map(summaryOf);
}

export async function counts({ db }: SessionReads): Promise<readonly RecordCount[]> {
  const rows = await db
    .selectFrom('dataplanes')
    .select(['mesh', 'state', 'guard'])
    .select(({ fn }) => [fn.countAll<number>().as('count'), fn.min('since_at').as('oldest')])
    .groupBy(['mesh', 'state', 'guard'])
    .orderBy('mesh')
    .orderBy('state')
    .orderBy('guard', (order) => order.asc().nullsFirst())
    .execute();
  return rows.map(({ mesh, state, guard, count, oldest }) => ({
    mesh,
    state,
    guard: guard ?? undefined,
    count,
    oldestSinceMs: oldest,
  }));
}

export async function departures(
  { db }: SessionReads,
  { key, incarnation, causes, sinceMs, limit }: Parameters<Store['departures']>[0],
): Promise<readonly KnownDeparture[]> {
  if (causes?.length === 0) return [];
  let query = db
    .selectFrom('departures')
    .selectAll()
    .select((row) =>
      row
        .selectFrom('bodies')
        .select('bodies.epoch')
        .whereRef('bodies.epoch', '=', 'departures.epoch')
        .as('body'),
    );
  if (key !== undefined) query = query.where(isNamed(key));
  if (incarnation !== undefined) query = query.where('incarnation', '=', incarnation);
  if (causes !== undefined) query = query.where('cause', 'in', causes.map(storedCause));
  if (sinceMs !== undefined) query = query.where('at', '>=', sinceMs);
  const rows = await query.orderBy('at', 'desc').orderBy('epoch', 'desc').limit(limit).execute();
  return rows.map(knownDepartureOf);
}

export async function lastDeletedBody(
  { db }: SessionReads,
  key: DataplaneKey,
): Promise<DeletedBody | undefined> {
  const row = await db
    .selectFrom('bodies')
    .selectAll()
    .where(isNamed(key))
    .orderBy('at', 'desc')
    .orderBy('epoch', 'desc')
    .executeTakeFirst();
  return row === undefined ? undefined : bodyOf(row);
}

export async function deletedBodies(
  { db }: SessionReads,
  sinceMs: number,
  causes?: readonly Cause[],
): Promise<readonly DeletedBody[]> {
  let query = db.selectFrom('bodies').selectAll().where('at', '>=', sinceMs);
  if (causes !== undefined) {
    const departed = db
      .selectFrom('departures')
      .select('epoch')
      .where('cause', 'in', causes.map(storedCause));
    query = query.where('epoch', 'in', departed.where('at', '>=', sinceMs));
  }
  return (await query.orderBy('epoch').execute()).map(bodyOf);
}

export async function releaseBrake({ db }: Session, mesh: string, untilMs: number): Promise<void> {
  const until_at = Math.ceil(untilMs);
  await db
    .insertInto('brake_releases')
    .values({ mesh, until_at })
    .onConflict((conflict) => conflict.column('mesh').doUpdateSet({ until_at }))
    .execute();
}

/** Releases that have not ended. */
export async function brakeReleases({
  db,
  nowMs,
}: Session): Promise<readonly { readonly mesh: string; readonly untilMs: number }[]> {
  const rows = await db
    .selectFrom('brake_releases')
    .select(['mesh', 'until_at'])
    .where('until_at', '>', nowMs)
    .orderBy('mesh')
    .execute();
  return rows.map((row) => ({ mesh: row.mesh, untilMs: row.until_at }));
}
