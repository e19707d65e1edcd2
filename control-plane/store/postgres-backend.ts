import { sql, type Kysely, type RawBuilder } from 'kysely';

import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { Fence } from '../ports.ts';
import { sharedTime } from './advancing-time.ts';
import type { Backend, RowWork, NameWork } from './backend.ts';
import { keepBody, wantedRows, type Wanted } from './deletions.ts';
import { lease } from './lease.ts';
import type { StoreLimits } from './limits.ts';
import { migrate } from './migrations.ts';
import { NameLocks } from './name-locks.ts';
import { PostgresConnections, type PoolConnection, type ServerAge } from './postgres-connections.ts';
import { describePlace, requireUsableFiles } from './postgres-url.ts';
import { recordOf } from './rows.ts';
import type { DataplaneRow, Schema } from './schema.ts';
import { currentRow, type Session } from './session.ts';
import { findAny as findAnySidelining } from './sidelinings.ts';

/** How many attempts may run at once: each keeps a connection while it acts. */
const ATTEMPTS = 16;
const CONNECTIONS = 8;
/** Connections for agents that leave: a stop never waits for other work. */
const LEAVING = 4;
/** Another replica may be migrating. */
const MIGRATION_MS = 60_000;

/**
 * @throws `STORE_UNAVAILABLE` if the database is unavailable, `STORE_UNUSABLE`, `CONFIG_INVALID` for a file that its
 * URL names
 */
export async function openPostgres(
  url: string,
  { clock, limits }: { readonly clock: Clock; readonly limits: StoreLimits },
): Promise<Backend> {
  requireUsableFiles(url);
  const place = describePlace(url);
  const server: ServerAge = { current: 0 };
  const common = { ...limits, clock, url, server, place, connectMs: limits.statementMs };
  const slow = { max: 1, statementMs: MIGRATION_MS, lockWaitMs: MIGRATION_MS, sessionMs: MIGRATION_MS };
  const migrations = new PostgresConnections({ ...common, ...slow });
  try {
    await migrations.use(({ db }) => migrate(db, { kind: 'postgres', place }));
  } finally {
    await migrations.close();
  }
  return new PostgresBackend({
    clock,
    limits,
    attempts: new PostgresConnections({ ...common, max: ATTEMPTS }),
    connections: new PostgresConnections({ ...common, max: CONNECTIONS }),
    leaving: new PostgresConnections({ ...common, max: LEAVING }),
    heartbeats: new PostgresConnections({ ...common, max: 1 }),
  });
}

interface PostgresDeps {
  readonly clock: Clock;
  readonly limits: StoreLimits;
  readonly attempts: PostgresConnections;
  readonly connections: PostgresConnections;
  readonly leaving: PostgresConnections;
  readonly heartbeats: PostgresConnections;
}

/**
 * A name is locked by its row, or by an advisory lock while it has none. Callers of this process that want the same
 * name wait for each other in memory, before they take a connection: however many they are, they do not keep other
 * names from the database.
 */
class PostgresBackend implements Backend {
  readonly kind = 'postgres';
  readonly #deps: PostgresDeps;
  readonly #names: NameLocks;
  readonly #time: (knownMs: number) => number;

  constructor(deps: PostgresDeps) {
    this.#deps = deps;
    this.#names = new NameLocks(deps.clock, deps.limits.lockWaitMs);
    this.#time = sharedTime(deps.clock);
  }

  read<T>(work: (session: Pick<Session, 'db'>) => Promise<T>): Promise<T> {
    return this.#deps.connections.use(work);
  }

  run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#transact(this.#deps.connections, async (db) => work(await this.#session(db)));
  }

  beat<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#transact(this.#deps.heartbeats, async (db) => work(await this.#session(db)));
  }

  runAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T> {
    return this.#alone(this.#deps.connections, key, work);
  }

  leaveAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T> {
    return this.#alone(this.#deps.leaving, key, work);
  }

  async lockRow<T>(
    wanted: Wanted,
    work: RowWork<T>,
    patient: boolean,
  ): Promise<{ readonly row: DataplaneRow; readonly value: T } | undefined> {
    if (wanted.kind === 'due') return this.#lockRow(wanted, work, patient);
    const name = describeKey(wanted.key);
    const release = patient ? await this.#names.take(name) : this.#names.tryTake(name);
    if (release === undefined) return undefined;
    try {
      return await this.#lockRow(wanted, work, patient);
    } finally {
      release();
    }
  }

  async close(): Promise<void> {
    const { attempts, connections, leaving, heartbeats } = this.#deps;
    await Promise.all([attempts, connections, leaving, heartbeats].map((each) => each.close()));
  }

  async #alone<T>(
    connections: PostgresConnections,
    key: DataplaneKey,
    work: (session: Session) => Promise<T>,
  ): Promise<T> {
    const name = describeKey(key);
    const release = await this.#names.take(name).catch((error: unknown) => blame(connections, error));
    try {
      return await this.#transact(connections, async (db) => work(await this.#session(db, lockOf(name))));
    } finally {
      release();
    }
  }

  #lockRow<T>(
    wanted: Wanted,
    work: RowWork<T>,
    patient: boolean,
  ): Promise<{ readonly row: DataplaneRow; readonly value: T } | undefined> {
    return this.#transact(this.#deps.attempts, async (db, connection) => {
      // Counts from before the lock is requested; PostgreSQL counts from later.
      const assertLeased = lease(this.#deps.clock, this.#deps.limits.leaseMs);
      const session = await this.#session(db);
      const rows = wantedRows(session, wanted, 1).forUpdate();
      const row = await (patient ? rows : rows.skipLocked()).executeTakeFirst();
      if (row === undefined) return undefined;
      const fence: Fence = {
        nowMs: session.nowMs,
        assertHeld: () => {
          assertLeased();
          if (connection.isLost) throw lostError();
        },
        // On a connection of its own: the body must stay even if this transaction is rolled back.
        keepBody: (resource) => this.run((own) => keepBody(own, recordOf(row), resource)),
        alone: async (what) => {
          await sql`select ${lockOf(`alone ${what}`)}`.execute(db);
        },
      };
      const value = await work.act(row, fence);
      // Advanced by this process's clock, which saves a query.
      await work.record?.({ ...session, nowMs: this.#time(session.nowMs) }, row, value);
      return { row, value };
    });
  }

  async lockName<T>(key: DataplaneKey, { act, record }: NameWork<T>): Promise<T> {
    const name = describeKey(key);
    const release = await this.#names.take(name);
    try {
      return await this.#transact(this.#deps.attempts, async (db, connection) => {
        const assertLeased = lease(this.#deps.clock, this.#deps.limits.leaseMs);
        const session = await this.#session(db, lockOf(name));
        const row = await currentRow(session, key);
        const assertHeld = (): void => {
          assertLeased();
          if (connection.isLost) throw lostError();
        };
        const sidelining = await findAnySidelining(session, key);
        const value = await act({ row, sidelining, fence: { nowMs: session.nowMs, assertHeld } });
        await record(await this.#session(db), value);
        return value;
      });
    } finally {
      release();
    }
  }

  #transact<T>(
    connections: PostgresConnections,
    work: (db: Kysely<Schema>, connection: PoolConnection) => Promise<T>,
  ): Promise<T> {
    return connections.use((connection) => connection.db.transaction().execute((db) => work(db, connection)));
  }

  /**
   * A session at a moment of the database's clock, which all replicas share. After a failover it may be another
   * machine's clock, and behind: then the latest time that any replica has recorded counts.
   *
   * @param first a statement to wait for before the clock is read
   */
  async #session(db: Kysely<Schema>, first: RawBuilder<unknown> = sql`null`): Promise<Session> {
    const clock = sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`;
    const known = sql<number>`greatest(${clock}, (select max(seen_at) from replicas))`;
    const { rows } = await sql<{ now: number }>`select ${first} as first, ${known} as now`.execute(db);
    return { kind: 'postgres', db, nowMs: this.#time(Math.max(...rows.map(({ now }) => now))) };
  }
}

/** Lasts until the transaction ends. Two names with the same hash wait for each other, which does no harm. */
function lockOf(name: string): RawBuilder<unknown> {
  return sql`pg_advisory_xact_lock(hashtextextended(${`kuma-deregistrar ${name}`}, 0))`;
}

function lostError(): OperationalError {
  return new OperationalError(
    'FENCE_LOST',
    'Cannot delete: the connection with the lock on the name was lost',
  );
}

/**
 * A caller has waited in memory for a name, in vain. If the caller before it waits for a database that does not
 * answer, the error must be about the database.
 *
 * @throws `STORE_UNAVAILABLE` if the database does not answer, else `error`
 */
async function blame(connections: PostgresConnections, error: unknown): Promise<never> {
  await connections.use(({ db }) => sql`select 1`.execute(db));
  throw error;
}
