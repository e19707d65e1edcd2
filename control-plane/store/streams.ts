import { sql, type Expression, type ExpressionBuilder, type SqlBool } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Heartbeat, Silence, UnseenCount } from '../ports.ts';
import { prepared } from './prepared.ts';
import { KEY_COLUMNS, keyColumns, type KeyValues } from './rows.ts';
import type { DataplaneRow, Schema } from './schema.ts';
import { unlocked, type Session } from './session.ts';

interface StreamAt {
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

export async function detach(
  session: Session,
  { key, epoch }: StreamAt,
  { replica, returnMs }: { readonly replica: string; readonly returnMs?: number | undefined },
): Promise<void> {
  const { nowMs } = session;
  const which: Condition = (row) => row.and({ ...keyColumns(key), epoch, replica });
  const becomes =
    returnMs === undefined
      ? { ...LOST, dueAtMs: nowMs }
      : { ...UNSEEN, dueAtMs: Math.ceil(nowMs + returnMs) };
  await endStreams(session, which, { ...becomes, goneAtMs: nowMs });
}

/** The order matters: a record that becomes unseen now gets all of its time. */
export async function noteSilence(session: Session, silence: Silence): Promise<UnseenCount> {
  if (silence.anew) await extendUnseen(session, silence);
  const lost = await loseUnseen(session, silence);
  const unseen = await missSilentReplicas(session, silence);
  return { lost, unseen, expected: await countUnseen(session) };
}

export async function unseenIncarnations({ db }: Pick<Session, 'db'>): Promise<readonly string[]> {
  const rows = await db.selectFrom('dataplanes').select('incarnation').where(isUnseen).execute();
  return rows.map(({ incarnation }) => incarnation);
}

async function countUnseen({ db }: Session): Promise<number> {
  const { count } = await db
    .selectFrom('dataplanes')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where(isUnseen)
    .executeTakeFirstOrThrow();
  return count;
}

/** Attached records, the majority, are in no index of due records. */
const isUnseen: Condition = (row) => row.and([row('due_at', '>', 0), row('state', '=', 'unseen')]);

/** No replica was up to which the agents could return: they get their time once more. */
async function extendUnseen(session: Session, { returnMs }: Silence): Promise<void> {
  const { db, nowMs } = session;
  const count = await countUnseen(session);
  if (count === 0) return;
  const dueAtMs = Math.ceil(nowMs + returnMs(count));
  const isShorter = unlocked(session, (row) =>
    row.and([row('state', '=', 'unseen'), row('due_at', '<', dueAtMs)]),
  );
  await db.updateTable('dataplanes').set({ due_at: dueAtMs }).where(isShorter).execute();
}

async function loseUnseen(session: Session, { owedMs }: Silence): Promise<number> {
  const { db, nowMs } = session;
  const isOver = unlocked(session, (row) =>
    row.and([row('due_at', '<=', Math.floor(nowMs - owedMs)), row('state', '=', 'unseen')]),
  );
  const { numUpdatedRows } = await db
    .updateTable('dataplanes')
    .set({ state: 'lost', due_at: nowMs })
    .where(isOver)
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** A replica without a record can only have been silent for as long as this one has looked: since now. */
async function missSilentReplicas(session: Session, { self, silentMs, returnMs }: Silence): Promise<number> {
  const { db, nowMs } = session;
  const holders = await db
    .selectFrom('dataplanes')
    .select('replica')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('replica', 'is not', null)
    .groupBy('replica')
    .execute();
  const replicas = await db.selectFrom('replicas').selectAll().execute();
  const seenAtMs = new Map(replicas.map((each) => [each.replica, each.seen_at]));
  let unseen = 0;
  for (const { replica, count } of holders) {
    const seenMs = seenAtMs.get(replica ?? '');
    if (replica === null || replica === self || (seenMs !== undefined && seenMs >= nowMs - silentMs))
      continue;
    const itsOwn = unlocked(session, (row) => row('replica', '=', replica));
    const dueAtMs = Math.ceil(nowMs + returnMs(count));
    unseen += await endStreams(session, itsOwn, { ...UNSEEN, goneAtMs: seenMs ?? nowMs, dueAtMs });
    await db
      .deleteFrom('replicas')
      .where('replica', '=', replica)
      .where('seen_at', '<', nowMs - silentMs)
      .execute();
  }
  return unseen;
}

const updatePhase = prepared(
  [...KEY_COLUMNS, 'epoch', 'phase', 'serving'],
  ({ db }, { phase, serving, ...at }: KeyValues & Pick<DataplaneRow, 'epoch' | 'phase' | 'serving'>) =>
    db
      .updateTable('dataplanes')
      .set({ phase, serving })
      .where((row) => row.and(at)),
);

export async function notePhase(
  session: Session,
  { key, epoch }: StreamAt,
  { phase, serving }: { readonly phase: string; readonly serving: boolean },
): Promise<void> {
  await updatePhase(session, { ...keyColumns(key), epoch, phase, serving: serving ? 1 : 0 });
}

type StreamsEnd = (typeof LOST | typeof UNSEEN) & { readonly goneAtMs: number; readonly dueAtMs: number };

const LOST = { state: 'lost', unseen: 0 } as const;
const UNSEEN = { state: 'unseen', unseen: 1 } as const;

/**
 * The guards know the grace, so a record that lost its stream is due at once and is watched from the beginning.
 * Records that the companion would not delete are dropped.
 *
 * @returns how many records came into the new state
 */
async function endStreams(
  { db }: Session,
  which: Condition,
  { state, unseen, goneAtMs, dueAtMs }: StreamsEnd,
): Promise<number> {
  await db
    .deleteFrom('dataplanes')
    .where(which)
    .where('state', '=', 'attached')
    .where('deletable', '=', 0)
    .execute();
  // The replica's last heartbeat may be older than this record.
  const lostAt = sql<number>`case when since_at > ${goneAtMs} then since_at else ${goneAtMs} end`;
  const silent = { lost_at: lostAt, replica: null, unseen };
  await db.updateTable('dataplanes').set(silent).where(which).where('state', '<>', 'attached').execute();
  const { numUpdatedRows } = await db
    .updateTable('dataplanes')
    .set({
      ...silent,
      state,
      since_at: lostAt,
      due_at: dueAtMs,
      attempts: 0,
      guard: null,
      reason: null,
    })
    .where(which)
    .where('state', '=', 'attached')
    .executeTakeFirst();
  return Number(numUpdatedRows);
}
