import { sql, type Kysely } from 'kysely';
import { Migrator, type Migration } from 'kysely/migration';

import { OperationalError } from '../../kernel/errors.ts';
import type { Schema } from './schema.ts';

type Kind = 'sqlite' | 'postgres';

/** A released migration never changes: a store that has run it does not run it again. */
const MIGRATIONS: Readonly<Record<string, (db: Kysely<Schema>, kind: Kind) => Promise<void>>> = {
  '0001-records': createTables,
  '0002-evidence': addEvidence,
  '0003-scale': addOrderedIndexes,
  '0004-witnesses': addWitnesses,
};

/**
 * Brings the schema up to this program's. Several replicas may do so at once: the first does it, the others wait.
 *
 * @throws `STORE_UNUSABLE` if the store is of a newer program than this one
 */
export async function migrate(
  db: Kysely<Schema>,
  { kind, place }: { readonly kind: Kind; readonly place: string },
): Promise<void> {
  const migrations = Object.entries(MIGRATIONS).map(([name, change]): [string, Migration] => [
    name,
    { up: (changed: Kysely<Schema>) => change(changed, kind) },
  ]);
  const provider = { getMigrations: () => Promise.resolve(Object.fromEntries(migrations)) };
  const { error } = await new Migrator({ db, provider }).migrateToLatest();
  if (error === undefined) return;
  const unknown = await unknownMigrations(db).catch(() => []);
  if (unknown.length === 0) throw error as Error;
  throw new OperationalError(
    'STORE_UNUSABLE',
    `Cannot use ${place}: a newer kuma-deregistrar has changed it (${unknown.join(', ')}); start that version again, or give this one a store of its own`,
    { cause: error },
  );
}

async function unknownMigrations(db: Kysely<Schema>): Promise<readonly string[]> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
  return rows.map(({ name }) => name).filter((name) => !Object.hasOwn(MIGRATIONS, name));
}

async function createTables(db: Kysely<Schema>, kind: Kind): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('dataplanes')
    .addColumn('proxy_type', 'text', (column) => column.notNull())
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull().unique())
    .addColumn('incarnation', 'text', (column) => column.notNull())
    .addColumn('owner', 'text', (column) => column.notNull())
    .addColumn('deletable', 'integer', (column) => column.notNull())
    .addColumn('address', 'text')
    .addColumn('resource', 'text')
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('since_at', 'bigint', (column) => column.notNull())
    .addColumn('lost_at', 'bigint')
    .addColumn('replica', 'text')
    .addColumn('phase', 'text', (column) => column.notNull())
    .addColumn('due_at', 'bigint')
    .addColumn('attempts', 'integer', (column) => column.notNull())
    .addColumn('guard', 'text')
    .addColumn('reason', 'text')
    .addPrimaryKeyConstraint('dataplanes_name', ['proxy_type', 'mesh', 'name'])
    .execute();
  await schema
    .createTable('departures')
    .addColumn('epoch', 'bigint', (column) => column.primaryKey())
    .addColumn('proxy_type', 'text', (column) => column.notNull())
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('incarnation', 'text', (column) => column.notNull())
    .addColumn('cause', 'text', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('guard', 'text')
    .addColumn('reason', 'text', (column) => column.notNull())
    .addColumn('attempts', 'integer', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('bodies')
    .addColumn('epoch', 'bigint', (column) => column.primaryKey())
    .addColumn('proxy_type', 'text', (column) => column.notNull())
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('resource', 'text', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .execute();
  await createSmallTables(db);
  await (kind === 'postgres' ? sql`create sequence epochs`.execute(db) : createCounters(db));
}

/** Whether Envoy serves, streams whose end no replica saw, the zone, and its control planes. */
async function addEvidence({ schema }: Kysely<Schema>): Promise<void> {
  await schema.alterTable('dataplanes').addColumn('serving', 'integer').execute();
  await schema
    .alterTable('dataplanes')
    .addColumn('unseen', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
  await schema
    .createTable('instances')
    .addColumn('instance_id', 'text', (column) => column.primaryKey())
    .addColumn('url', 'text')
    .addColumn('standing', 'text', (column) => column.notNull())
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('zones')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text')
    .addColumn('cluster_id', 'text')
    .execute();
}

/** For the queries that run every second, and for each departure. */
async function addOrderedIndexes({ schema }: Kysely<Schema>): Promise<void> {
  await schema.dropIndex('dataplanes_due_at').execute();
  await schema.dropIndex('dataplanes_replica').execute();
  await schema.createIndex('dataplanes_due_at_epoch').on('dataplanes').columns(['due_at', 'epoch']).execute();
  await schema
    .createIndex('dataplanes_replica_state_epoch')
    .on('dataplanes')
    .columns(['replica', 'state', 'epoch'])
    .execute();
}

/** Where a stream comes from, who was taken out of rotation, and who reaches whom. */
async function addWitnesses({ schema }: Kysely<Schema>): Promise<void> {
  await schema.alterTable('dataplanes').addColumn('peer', 'text').execute();
  await schema
    .createTable('sidelinings')
    .addColumn('proxy_type', 'text', (column) => column.notNull())
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('stage', 'text', (column) => column.notNull())
    .addColumn('began_at', 'bigint', (column) => column.notNull())
    .addColumn('due_at', 'bigint', (column) => column.notNull())
    .addColumn('record', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('sidelinings_name', ['proxy_type', 'mesh', 'name'])
    .execute();
  await schema
    .createTable('acquaintances')
    .addColumn('place', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('witness', 'text', (column) => column.notNull())
    .addColumn('reached_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('acquaintances_pair', ['place', 'subject', 'witness'])
    .execute();
}

async function createSmallTables({ schema }: Kysely<Schema>): Promise<void> {
  await schema
    .createTable('replicas')
    .addColumn('replica', 'text', (column) => column.primaryKey())
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('brake_releases')
    .addColumn('mesh', 'text', (column) => column.primaryKey())
    .addColumn('until_at', 'bigint', (column) => column.notNull())
    .execute();
  for (const [table, columns] of INDEXES) {
    await schema
      .createIndex(`${table}_${columns.join('_')}`)
      .on(table)
      .columns(columns)
      .execute();
  }
}

async function createCounters(db: Kysely<Schema>): Promise<void> {
  await db.schema
    .createTable('counters')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('value', 'bigint', (column) => column.notNull())
    .execute();
  const counters = ['epoch', 'clock'].map((name) => ({ name, value: 0 }));
  await db.insertInto('counters').values(counters).execute();
}

const INDEXES: readonly (readonly [table: keyof Schema, columns: string[]])[] = [
  ['dataplanes', ['due_at']],
  ['dataplanes', ['replica']],
  ['departures', ['mesh', 'name', 'incarnation']],
  ['departures', ['at']],
  ['bodies', ['mesh', 'name']],
  ['bodies', ['at']],
];
