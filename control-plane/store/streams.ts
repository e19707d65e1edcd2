import { sql, type Expression, type ExpressionBuilder, type SqlBool } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Heartbeat } from '../ports.ts';
import { keyColumns } from './rows.ts';
import type { Schema } from './schema.ts';
import { unlocked, type Session } from './session.ts';

interface At {
  readonly key: DataplaneKey;
  readonly epoch: number;
}

type Condition = (row: ExpressionBuilder<Schema, 'dataplanes'>) => Expression<SqlBool>;

export async function heartbeat(
  { db, nowMs }: Session,
  replica: string,
  withinMs: number,
): Promise<Heartbeat> {
  const found = await db
    .selectFrom('replicas')
    .select('seen_at')
    .where('replica', '=', replica)
    .executeTakeFirst();
  await db
    .insertInto('replicas')
    .values({ replica, seen_at: nowMs })
    .onConflict((conflict) => conflict.column('replica').doUpdateSet({ seen_at: nowMs }))
    .execute();
  const alive = await db
    .selectFrom('replicas')
    .select('replica')
    .where('seen_at', '>=', nowMs - withinMs)
    .orderBy('replica')
    .execute();
  const held = await db
    .selectFrom('dataplanes')
    .select(({ fn }) => [
      fn.countAll<number>().as('count'),
      sql<number>`cast(coalesce(sum(epoch), 0) as bigint)`.as('epochs'),
    ])
    .where('replica', '=', replica)
    .where('state', '=', 'attached')
    .executeTakeFirstOrThrow();
  return {
    replicas: alive.map((row) => row.replica),
    foundMs: found?.seen_at,
    saidMs: nowMs,
    held,
  };
}

export async function detach(session: Session, { key, epoch }: At, replica: string): Promise<void> {
  const which: Condition = (row) => row.and({ ...keyColumns(key), epoch, replica });
  await loseStreams(session, which, { goneAtMs: session.nowMs, unseen: 0 });
}

/** A replica of which there is no record can only have been silent for as long as this one has looked: since now. */
export async function loseStreamsOfSilentReplicas(session: Session, silentMs: number): Promise<number> {
  const { db, nowMs } = session;
  const holders = await db
    .selectFrom('dataplanes')
    .leftJoin('replicas', 'replicas.replica', 'dataplanes.replica')
    .select(['dataplanes.replica', 'replicas.seen_at'])
    .where('dataplanes.replica', 'is not', null)
    .distinct()
    .execute();
  let lost = 0;
  for (const { replica, seen_at: seenMs } of holders) {
    if (replica === null || (seenMs !== null && seenMs >= nowMs - silentMs)) continue;
    const itsOwn = unlocked(session, (row) => row('replica', '=', replica));
    lost += await loseStreams(session, itsOwn, { goneAtMs: seenMs ?? nowMs, unseen: 1 });
    await db
      .deleteFrom('replicas')
      .where('replica', '=', replica)
      .where('seen_at', '<', nowMs - silentMs)
      .execute();
  }
  return lost;
}

export async function notePhase(
  { db }: Session,
  { key, epoch }: At,
  { phase, serving }: { readonly phase: string; readonly serving: boolean },
): Promise<void> {
  await db
    .updateTable('dataplanes')
    .set({ phase, serving: serving ? 1 : 0 })
    .where((row) => row.and({ ...keyColumns(key), epoch }))
    .execute();
}

/**
 * The guards know the grace: a record that lost its stream is due at once, so that it is watched from the beginning.
 * Records that the companion would not delete are dropped.
 *
 * @returns how many became `lost`
 */
async function loseStreams(
  { db, nowMs }: Session,
  which: Condition,
  { goneAtMs, unseen }: { readonly goneAtMs: number; readonly unseen: 0 | 1 },
): Promise<number> {
  await db
    .deleteFrom('dataplanes')
    .where(which)
    .where('state', '=', 'attached')
    .where('deletable', '=', 0)
    .execute();
  // Its replica may have been heard of for the last time before it said this.
  const lostAt = sql<number>`case when since_at > ${goneAtMs} then since_at else ${goneAtMs} end`;
  const silent = { lost_at: lostAt, replica: null, unseen };
  await db.updateTable('dataplanes').set(silent).where(which).where('state', '<>', 'attached').execute();
  const { numUpdatedRows } = await db
    .updateTable('dataplanes')
    .set({
      ...silent,
      state: 'lost',
      since_at: lostAt,
      due_at: nowMs,
      attempts: 0,
      guard: null,
      reason: null,
    })
    .where(which)
    .where('state', '=', 'attached')
    .executeTakeFirst();
  return Number(numUpdatedRows);
}
