import { sql, type ExpressionBuilder, type SqlBool, type Expression } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import { prepared, type QueryPlace } from './prepared.ts';
import { KEY_COLUMNS, keyColumns, type KeyValues } from './rows.ts';
import type { DataplaneRow, Schema } from './schema.ts';

/** One transaction, at one moment of the store's time. */
export interface Session extends QueryPlace {
  readonly nowMs: number;
}

const selectCurrent = prepared(KEY_COLUMNS, ({ kind, db }, key: KeyValues) => {
  const query = db.selectFrom('dataplanes').selectAll().where(isKeyed(key));
  return kind === 'postgres' ? query.forUpdate() : query;
});

/** The row of a name. PostgreSQL locks it: other callers wait, or skip it. */
export async function currentRow(session: Session, key: DataplaneKey): Promise<DataplaneRow | undefined> {
  const { rows } = await selectCurrent(session, keyColumns(key));
  return rows[0];
}

/** How far above the sequence an agent's epoch is believed: a store never goes back by more. */
const BELIEVED_EPOCHS = 1_000_000;

/**
 * Takes every epoch from one sequence for all names. The sequence outlives the rows, so no epoch is used twice. If it
 * is behind the highest epoch of the rows, it moves above that: a failover to a logical replica brings the rows and
 * not the sequence.
 *
 * @param shown the epoch that an agent says it was given, maybe by a store that has gone back in time since
 * @returns `raised` if the sequence was behind
 */
export async function nextEpoch(
  session: Session,
  shown = 0,
): Promise<{ readonly epoch: number; readonly raised: boolean }> {
  const epoch = await takeEpoch(session);
  const highest = await highestEpoch(session);
  const above = shown > highest && shown <= highest + BELIEVED_EPOCHS ? shown : highest;
  if (epoch > above) return { epoch, raised: false };
  await raiseEpochs(session, above);
  return { epoch: await takeEpoch(session), raised: true };
}

const selectHighest = prepared([], ({ db }) => ({
  compile: () =>
    sql<{ highest: number | null }>`select max(epoch) as highest from (
    select max(epoch) as epoch from dataplanes union all
    select max(epoch) from departures union all
    select max(epoch) from bodies) as epochs`.compile(db),
}));

async function highestEpoch(session: Session): Promise<number> {
  const { rows } = await selectHighest(session, {});
  return theOnly(rows).highest ?? 0;
}

/** Never moves it back: another transaction may have raised it meanwhile. */
async function raiseEpochs({ kind, db }: Session, above: number): Promise<void> {
  await (kind === 'postgres'
    ? sql`select setval('epochs', greatest(last_value, ${above})) from epochs`.execute(db)
    : sql`update counters set value = max(value, ${above}) where name = 'epoch'`.execute(db));
}

const selectNextEpoch = prepared([], ({ kind, db }) =>
  kind === 'postgres'
    ? { compile: () => sql<{ value: number }>`select nextval('epochs') as value`.compile(db) }
    : db
        .updateTable('counters')
        .set((row) => ({ value: row('value', '+', 1) }))
        .where('name', '=', 'epoch')
        .returning('value'),
);

async function takeEpoch(session: Session): Promise<number> {
  const { rows } = await selectNextEpoch(session, {});
  return theOnly(rows).value;
}

/**
 * A condition for those rows of `which` that no caller has locked: a change of many rows then waits for none of them.
 */
export function unlocked(
  { kind, db }: Session,
  which: (row: ExpressionBuilder<Schema, 'dataplanes'>) => Expression<SqlBool>,
): (row: ExpressionBuilder<Schema, 'dataplanes'>) => Expression<SqlBool> {
  if (kind === 'sqlite') return which;
  const free = db.selectFrom('dataplanes').select('epoch').where(which).forUpdate().skipLocked();
  return (row) => row('epoch', 'in', free);
}

/** For every table with the columns of a name. */
export function isNamed(
  key: DataplaneKey,
): <Table extends 'dataplanes' | 'departures' | 'bodies' | 'sidelinings'>(
  row: ExpressionBuilder<Schema, Table>,
) => Expression<SqlBool> {
  return isKeyed(keyColumns(key));
}

export function isKeyed(
  key: KeyValues,
): <Table extends 'dataplanes' | 'departures' | 'bodies' | 'sidelinings'>(
  row: ExpressionBuilder<Schema, Table>,
) => Expression<SqlBool> {
  return (row) => (row as unknown as ExpressionBuilder<Schema, 'dataplanes'>).and({ ...key });
}

function theOnly<Row>(rows: readonly Row[]): Row {
  const [row] = rows;
  if (row === undefined) throw new TypeError('A query that always has one row had none');
  return row;
}
