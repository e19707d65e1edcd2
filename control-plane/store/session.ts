import { sql, type ExpressionBuilder, type Kysely, type SqlBool, type Expression } from 'kysely';

import type { DataplaneKey } from '../../kuma/dataplane.ts';
import { keyColumns } from './rows.ts';
import type { DataplaneRow, Schema } from './schema.ts';

/** One transaction, at one moment of the store's time. */
export interface Session {
  readonly kind: 'sqlite' | 'postgres';
  readonly db: Kysely<Schema>;
  readonly nowMs: number;
}

/** The row of a name. PostgreSQL locks it: whoever else wants it waits, or passes it over. */
export function currentRow(session: Session, key: DataplaneKey): Promise<DataplaneRow | undefined> {
  const query = session.db.selectFrom('dataplanes').selectAll().where(isNamed(key));
  return (session.kind === 'postgres' ? query.forUpdate() : query).executeTakeFirst();
}

/** Every epoch is taken from one sequence for all names, which outlives the rows: none is ever seen twice. */
export async function nextEpoch({ kind, db }: Session): Promise<number> {
  if (kind === 'postgres') {
    const { rows } = await sql<{ epoch: number }>`select nextval('epochs') as epoch`.execute(db);
    return theOnly(rows).epoch;
  }
  const rows = await db
    .updateTable('counters')
    .set((row) => ({ value: row('value', '+', 1) }))
    .where('name', '=', 'epoch')
    .returning('value')
    .execute();
  return theOnly(rows).value;
}

/**
 * A condition that is true of the rows that `which` finds and nobody has locked: a change of many rows waits for none
 * of them.
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
): <Table extends 'dataplanes' | 'departures' | 'bodies'>(
  row: ExpressionBuilder<Schema, Table>,
) => Expression<SqlBool> {
  return (row) => (row as unknown as ExpressionBuilder<Schema, 'dataplanes'>).and(keyColumns(key));
}

function theOnly<Row>(rows: readonly Row[]): Row {
  const [row] = rows;
  if (row === undefined) throw new TypeError('A query that always has one row had none');
  return row;
}
