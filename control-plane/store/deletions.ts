import { sql, type Expression, type ExpressionBuilder, type SqlBool } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import type { AttemptResult, DueShare } from '../ports.ts';
import { departureBase } from './attaching.ts';
import { KEPT } from './limits.ts';
import { prepared } from './prepared.ts';
import { KEY_COLUMNS, keyColumns, type KeyValues } from './rows.ts';
import type { BodyRow, DataplaneRow, DepartureRow, Schema } from './schema.ts';
import { currentRow, nextEpoch, unlocked, type Session } from './session.ts';

/** Work that has been due for longer is any replica's. */
const OTHERS_MS = 2_000;

/** The caller has locked the name. */
export async function beginSweep(session: Session, key: DataplaneKey): Promise<boolean> {
  const { db, nowMs } = session;
  if ((await currentRow(session, key)) !== undefined) return false;
  const row: DataplaneRow = {
    ...keyColumns(key),
    epoch: (await nextEpoch(session)).epoch,
    incarnation: '',
    owner: 'external',
    deletable: 1,
    address: null,
    peer: null,
    resource: null,
    state: 'swept',
    since_at: nowMs,
    lost_at: nowMs,
    replica: null,
    phase: '',
    serving: null,
    unseen: 0,
    due_at: nowMs,
    attempts: 0,
    guard: null,
    reason: null,
  };
  await db.insertInto('dataplanes').values(row).execute();
  return true;
}

/** Which record an attempt takes: any due record, a waiting record of this epoch, or this epoch's record in any state. */
export type Wanted =
  | { readonly kind: 'due'; readonly mine?: DueShare }
  | { readonly kind: 'waiting' | 'current'; readonly key: DataplaneKey; readonly epoch: number };

type RowAt = KeyValues & Pick<DataplaneRow, 'epoch'>;

function currentAt({ db }: Pick<Session, 'db'>, at: RowAt) {
  return db
    .selectFrom('dataplanes')
    .selectAll()
    .where((row) => row.and({ ...at }));
}

function waitingAt(place: Pick<Session, 'db'>, at: RowAt) {
  return currentAt(place, at).where('state', 'not in', ['attached', 'unseen']);
}

const selectWaiting = prepared([...KEY_COLUMNS, 'epoch'], waitingAt);
const selectCurrent = prepared([...KEY_COLUMNS, 'epoch'], currentAt);

/** As {@link wantedRows}, without a lock. */
export async function readWanted(
  session: Session,
  wanted: Wanted,
  limit: number,
): Promise<readonly DataplaneRow[]> {
  if (wanted.kind === 'due') return wantedRows(session, wanted, limit).execute();
  const select = wanted.kind === 'waiting' ? selectWaiting : selectCurrent;
  const { rows } = await select(session, { ...keyColumns(wanted.key), epoch: wanted.epoch });
  return rows;
}

/** @param limit the maximum number of rows; those due for longest come first */
export function wantedRows(session: Session, wanted: Wanted, limit: number) {
  const { db, nowMs } = session;
  if (wanted.kind === 'due')
    return db
      .selectFrom('dataplanes')
      .selectAll()
      .where(isDue(nowMs, wanted.mine))
      .orderBy('due_at')
      .orderBy('epoch')
      .limit(limit);
  const at = { ...keyColumns(wanted.key), epoch: wanted.epoch };
  return wanted.kind === 'waiting' ? waitingAt(session, at) : currentAt(session, at);
}

function isDue(
  nowMs: number,
  mine: DueShare | undefined,
): (row: ExpressionBuilder<Schema, 'dataplanes'>) => Expression<SqlBool> {
  return (row) => {
    const due = [row('due_at', '<=', nowMs), row('state', '<>', 'unseen')];
    if (mine === undefined || mine.of === 1) return row.and(due);
    const isMine = row(row('epoch', '%', mine.of), '=', mine.share);
    return row.and([...due, row.or([isMine, row('due_at', '<=', nowMs - OTHERS_MS)])]);
  };
}

/** Records the result of an attempt. The caller has locked the name since it read the row. */
export async function recordResult(
  session: Session,
  row: DataplaneRow,
  result: AttemptResult,
): Promise<void> {
  const { kind, db, nowMs } = session;
  const { guard = null, reason } = result;
  const attempts = row.attempts + 1;
  if (result.kind === 'later') {
    const due_at = nowMs + Math.ceil(result.afterMs);
    await db
      .updateTable('dataplanes')
      .set({ attempts, due_at, guard, reason })
      .where('epoch', '=', row.epoch)
      .execute();
    return;
  }
  const departure = { ...departureBase(row), outcome: result.outcome, guard, reason, attempts, at: nowMs };
  const body = lastBody(row, nowMs, result);
  // PostgreSQL does all of it in one statement: each is a round trip, while the name is locked.
  if (kind === 'postgres') await endAtOnce(db, departure, body);
  else await end(session, departure, body);
}

const insertDeparture = prepared(
  [...KEY_COLUMNS, 'epoch', 'incarnation', 'cause', 'outcome', 'guard', 'reason', 'attempts', 'at'],
  ({ db }, departure: DepartureRow) => db.insertInto('departures').values(departure),
);

const deleteDataplane = prepared(['epoch'], ({ db }, { epoch }: Pick<DataplaneRow, 'epoch'>) =>
  db.deleteFrom('dataplanes').where('epoch', '=', epoch),
);

const insertBody = prepared([...KEY_COLUMNS, 'epoch', 'resource', 'at'], ({ db }, body: BodyRow) =>
  db
    .insertInto('bodies')
    .values(body)
    .onConflict((conflict) => conflict.column('epoch').doNothing()),
);

async function end(session: Session, departure: DepartureRow, body: BodyRow | undefined): Promise<void> {
  await insertDeparture(session, departure);
  await deleteDataplane(session, departure);
  if (body !== undefined) await insertBody(session, body);
}

async function endAtOnce(
  db: Session['db'],
  departure: DepartureRow,
  body: BodyRow | undefined,
): Promise<void> {
  const ended = db.with('gone', (also) =>
    also.deleteFrom('dataplanes').where('epoch', '=', departure.epoch).returning('epoch'),
  );
  if (body === undefined) {
    await ended.insertInto('departures').values(departure).execute();
    return;
  }
  await ended
    .with('told', (also) => also.insertInto('departures').values(departure).returning('epoch'))
    .insertInto('bodies')
    .values(body)
    .onConflict((conflict) => conflict.column('epoch').doNothing())
    .execute();
}

/**
 * An object may be gone without a record of its deletion, if the attempt died before it wrote one: then the resource
 * that its agent brought replaces the body.
 */
function lastBody(
  row: DataplaneRow,
  nowMs: number,
  { outcome, body }: Extract<AttemptResult, { kind: 'ended' }>,
): BodyRow | undefined {
  const resource = body ?? (outcome === 'already gone' ? row.resource : null);
  if (resource === null) return undefined;
  const { proxy_type, mesh, name, epoch } = row;
  return { proxy_type, mesh, name, epoch, resource, at: nowMs };
}

const replaceBody = prepared([...KEY_COLUMNS, 'epoch', 'resource', 'at'], ({ db }, body: BodyRow) =>
  db
    .insertInto('bodies')
    .values(body)
    .onConflict((conflict) => conflict.column('epoch').doUpdateSet({ resource: body.resource, at: body.at })),
);

export async function keepBody(
  session: Session,
  { key, epoch }: DataplaneRecord,
  resource: string,
): Promise<void> {
  await replaceBody(session, { ...keyColumns(key), epoch, resource, at: session.nowMs });
}

export async function hasten(session: Session): Promise<void> {
  const { db, nowMs } = session;
  await db
    .updateTable('dataplanes')
    .set({ due_at: nowMs })
    .where(unlocked(session, (row) => row.and([row('due_at', '>', nowMs), row('state', '<>', 'unseen')])))
    .execute();
}

/** Deletes rows beyond the limits, the oldest of a name first. */
async function bound({ db }: Session): Promise<void> {
  const ofName = { departures: KEPT.departuresOfName, bodies: KEPT.bodiesOfName } as const;
  for (const table of ['departures', 'bodies'] as const) {
    await sql`delete from ${sql.table(table)} where epoch in (select epoch from (
      select epoch, row_number() over (partition by proxy_type, mesh, name order by epoch desc) as place
      from ${sql.table(table)}) as placed where place > ${ofName[table]})`.execute(db);
  }
  await sql`delete from bodies where epoch in (select epoch from (
    select epoch, sum(length(resource)) over (order by length(resource), epoch desc) as total
    from bodies) as summed where total > ${KEPT.bodies})`.execute(db);
  await sql`delete from departures where epoch in (
    select epoch from departures order by epoch desc limit 1000000 offset ${KEPT.departures})`.execute(db);
}

/** Keeps releases until they end, and a replica as long as a stream is recorded as open there. */
export async function prune(session: Session, beforeMs: number): Promise<void> {
  const { db } = session;
  await db.deleteFrom('departures').where('at', '<', beforeMs).execute();
  await db.deleteFrom('bodies').where('at', '<', beforeMs).execute();
  await db.deleteFrom('brake_releases').where('until_at', '<', beforeMs).execute();
  const holders = db.selectFrom('dataplanes').select('replica').where('replica', 'is not', null);
  await db
    .deleteFrom('replicas')
    .where('seen_at', '<', beforeMs)
    .where((row) => row('replica', 'not in', holders))
    .execute();
  await bound(session);
}
