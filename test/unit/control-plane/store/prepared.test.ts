import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type CompiledQuery,
  type Dialect,
} from 'kysely';
import { beforeEach, describe, expect, test } from 'vitest';

import { prepared } from '../../../../control-plane/store/prepared.ts';
import type { DataplaneRow, Schema } from '../../../../control-plane/store/schema.ts';

const SQLITE: Dialect = {
  createAdapter: () => new SqliteAdapter(),
  createDriver: () => new DummyDriver(),
  createIntrospector: (db) => new SqliteIntrospector(db),
  createQueryCompiler: () => new SqliteQueryCompiler(),
};
const POSTGRES: Dialect = {
  createAdapter: () => new PostgresAdapter(),
  createDriver: () => new DummyDriver(),
  createIntrospector: (db) => new PostgresIntrospector(db),
  createQueryCompiler: () => new PostgresQueryCompiler(),
};

describe('a prepared query', () => {
  let asked: Pick<CompiledQuery, 'sql' | 'parameters'>[];
  let built: number;

  beforeEach(() => {
    asked = [];
    built = 0;
  });

  const open = (dialect: Dialect): Kysely<Schema> =>
    new Kysely<Schema>({
      dialect,
      log: ({ query: { sql, parameters } }) => void asked.push({ sql, parameters }),
    });
  const write = () =>
    prepared(
      ['epoch', 'guard', 'state'],
      ({ kind, db }, row: Pick<DataplaneRow, 'epoch' | 'guard' | 'state'>) => {
        built += 1;
        const { epoch, ...values } = row;
        const update = db
          .updateTable('dataplanes')
          .set(values)
          .where('epoch', '=', epoch)
          .where('attempts', '=', 7);
        return kind === 'postgres' ? update.returning('name') : update;
      },
    );

  test('is built once, and executed with the values of each call, null among them', async () => {
    const sqlite = { kind: 'sqlite', db: open(SQLITE) } as const;
    const query = write();
    await query(sqlite, { epoch: 1, guard: 'probation', state: 'lost' });
    await query(sqlite, { epoch: 2, guard: null, state: 'attached' });
    expect(built).toBe(1);
    expect(asked.map(({ parameters }) => parameters)).toEqual([
      ['probation', 'lost', 1, 7],
      [null, 'attached', 2, 7],
    ]);
    expect(new Set(asked.map(({ sql }) => sql)).size).toBe(1);
  });

  test('is another one for the other kind of database', async () => {
    const query = write();
    const row = { epoch: 1, guard: null, state: 'lost' } as const;
    await query({ kind: 'sqlite', db: open(SQLITE) }, row);
    await query({ kind: 'postgres', db: open(POSTGRES) }, row);
    expect(built).toBe(2);
    expect(asked.map(({ sql }) => /returning/.test(sql))).toEqual([false, true]);
  });
});
