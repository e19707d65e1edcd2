import type Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';

import type { Clock } from '../../kernel/clock.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { advancingTime } from './advancing-time.ts';
import type { Backend, RowWork, NameWork } from './backend.ts';
import { keepBody, readWanted, type Wanted } from './deletions.ts';
import { lease } from './lease.ts';
import type { StoreLimits } from './limits.ts';
import { migrate } from './migrations.ts';
import { NameLocks } from './name-locks.ts';
import { keyOf, recordOf } from './rows.ts';
import type { DataplaneRow, Schema } from './schema.ts';
import { currentRow, type Session } from './session.ts';
import { findAny as findAnySidelining } from './sidelinings.ts';
import { SqliteBatches } from './sqlite-batches.ts';
import { ofSqlite } from './sqlite-errors.ts';
import { openSqliteFile } from './sqlite-file.ts';
import { SqliteWal } from './sqlite-wal.ts';

type FileRelease = () => void;

/** @throws `STORE_UNUSABLE` */
export async function openSqlite(
  path: string,
  { clock, limits }: { readonly clock: Clock; readonly limits: StoreLimits },
): Promise<Backend> {
  const sqlite = openSqliteFile(path);
  try {
    const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: remembering(sqlite) }) });
    await prepareTables(sqlite, db, path);
    const { value } = await db
      .selectFrom('counters')
      .select('value')
      .where('name', '=', 'clock')
      .executeTakeFirstOrThrow();
    const wal = sqlite.memory ? undefined : new SqliteWal(sqlite.name);
    // From here on, each batch waits for its own sync.
    if (wal !== undefined) sqlite.pragma('synchronous = NORMAL');
    const sync = wal === undefined ? undefined : () => wal.sync();
    const batches = new SqliteBatches({ sqlite, db, path, nowMs: advancingTime(clock, value), sync });
    return new SqliteBackend({ sqlite, batches, wal, clock, limits });
  } catch (error) {
    sqlite.close();
    throw ofSqlite(error, path);
  }
}

async function prepareTables(sqlite: Database.Database, db: Kysely<Schema>, path: string): Promise<void> {
  // Kysely gives each step of a migration its own transaction here, and one may be the last before a power failure.
  sqlite.exec('begin');
  await migrate(db, { kind: 'sqlite', place: `the store ${path}` });
  // The processes recorded here have ended: otherwise this one could not have opened the file.
  await db.deleteFrom('replicas').execute();
  sqlite.exec('commit');
}

/** Prepares each statement once. There are as many as there are queries in this folder. */
function remembering(sqlite: Database.Database): {
  prepare(text: string): Database.Statement;
  close(): void;
} {
  const statements = new Map<string, Database.Statement>();
  return {
    prepare(text) {
      const known = statements.get(text) ?? sqlite.prepare(text);
      statements.set(text, known);
      return known;
    },
    close: () => sqlite.close(),
  };
}

/** Only one process has the file, so names are locked in its memory, without an open transaction. */
class SqliteBackend implements Backend {
  readonly kind = 'sqlite';
  readonly #sqlite: Database.Database;
  readonly #batches: SqliteBatches;
  readonly #wal: SqliteWal | undefined;
  readonly #clock: Clock;
  readonly #limits: StoreLimits;
  readonly #locks: NameLocks;

  constructor(deps: {
    readonly sqlite: Database.Database;
    readonly batches: SqliteBatches;
    readonly wal: SqliteWal | undefined;
    readonly clock: Clock;
    readonly limits: StoreLimits;
  }) {
    this.#sqlite = deps.sqlite;
    this.#batches = deps.batches;
    this.#wal = deps.wal;
    this.#clock = deps.clock;
    this.#limits = deps.limits;
    this.#locks = new NameLocks(deps.clock, deps.limits.lockWaitMs);
  }

  read<T>(work: (session: Pick<Session, 'db'>) => Promise<T>): Promise<T> {
    return this.#batches.run(work);
  }

  run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#batches.run(work);
  }

  beat<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#batches.run(work);
  }

  async runAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T> {
    const release = await this.#locks.take(describeKey(key));
    try {
      return await this.#batches.run(work);
    } finally {
      release();
    }
  }

  leaveAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T> {
    return this.runAlone(key, work);
  }

  async lockRow<T>(
    wanted: Wanted,
    work: RowWork<T>,
    patient: boolean,
  ): Promise<{ readonly row: DataplaneRow; readonly value: T } | undefined> {
    // Counts from before the name is requested.
    const assertHeld = lease(this.#clock, this.#limits.leaseMs);
    const held: FileRelease[] = [];
    const hold = (release: FileRelease | undefined): boolean =>
      release !== undefined && held.push(release) > 0;
    try {
      if (patient && wanted.kind !== 'due') hold(await this.#locks.take(describeKey(wanted.key)));
      const claimed = await this.#batches.run(async (session) => {
        const rows = await readWanted(session, wanted, this.#locks.size + 1);
        const row = patient ? rows[0] : rows.find((one) => hold(this.#tryTake(one)));
        return row === undefined ? undefined : { row, nowMs: session.nowMs };
      });
      if (claimed === undefined) return undefined;
      const { row, nowMs } = claimed;
      const value = await work.act(row, {
        nowMs,
        assertHeld,
        keepBody: (body) => this.#batches.run((session) => keepBody(session, recordOf(row), body)),
        alone: async (what) => {
          hold(await this.#locks.take(`alone ${what}`));
        },
      });
      const { record } = work;
      if (record !== undefined) await this.#batches.run((session) => record(session, row, value));
      return { row, value };
    } finally {
      for (const release of held) release();
    }
  }

  async lockName<T>(key: DataplaneKey, { act, record }: NameWork<T>): Promise<T> {
    const assertHeld = lease(this.#clock, this.#limits.leaseMs);
    const release = await this.#locks.take(describeKey(key));
    try {
      const { nowMs, ...found } = await this.#batches.run(async (session) => ({
        row: await currentRow(session, key),
        sidelining: await findAnySidelining(session, key),
        nowMs: session.nowMs,
      }));
      const value = await act({ ...found, fence: { nowMs, assertHeld } });
      await this.#batches.run((session) => record(session, value));
      return value;
    } finally {
      release();
    }
  }

  async close(): Promise<void> {
    await this.#batches.close();
    await this.#wal?.close();
    this.#sqlite.close();
  }

  #tryTake(row: DataplaneRow): FileRelease | undefined {
    return this.#locks.tryTake(describeKey(keyOf(row)));
  }
}
