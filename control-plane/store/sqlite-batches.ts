import { setImmediate } from 'node:timers';

import type Database from 'better-sqlite3';
import type { Kysely } from 'kysely';

import { OperationalError } from '../../kernel/errors.ts';
import type { Schema } from './schema.ts';
import type { Session } from './session.ts';
import { ofSqlite } from './sqlite-errors.ts';

export interface BatchesDeps {
  readonly sqlite: Database.Database;
  readonly db: Kysely<Schema>;
  readonly path: string;
  readonly nowMs: () => number;
  /**
   * Resolves when everything committed before the call survives a power failure; `undefined` if a commit itself does.
   */
  readonly sync: (() => Promise<void>) | undefined;
}

interface Job {
  run(session: Session): Promise<void>;
  /** Called once the commit survives a power failure. */
  readonly answer: () => void;
  readonly reject: (error: unknown) => void;
}

/** Leaves turns of the event loop to other work. */
const MAX_JOBS = 128;

/**
 * Runs everything that has arrived in one turn of the event loop as one transaction: a thousand dataplanes that leave
 * at once are as durable as one, and not a thousand times as slow. A job that fails, fails alone.
 *
 * No caller gets an answer before its writes, or the writes that it read, are on the disk. That takes 1 to 30 ms, so
 * another thread waits for it: on this one, a fleet that connects would wait. Commits made meanwhile share the next
 * sync.
 */
export class SqliteBatches {
  readonly #deps: BatchesDeps;
  readonly #statements: Readonly<
    Record<'begin' | 'commit' | 'rollback' | 'mark' | 'keep' | 'undo', Statement>
  >;
  readonly #changes: Database.Statement;
  readonly #rememberTime: Database.Statement;
  #waiting: Job[] = [];
  #running: Promise<void> | undefined;
  /** Committed since the last sync began. */
  #unsynced: Job[] = [];
  #syncing: Promise<void> | undefined;
  #closed = false;

  constructor(deps: BatchesDeps) {
    this.#deps = deps;
    const { sqlite } = deps;
    this.#statements = {
      begin: sqlite.prepare('begin'),
      commit: sqlite.prepare('commit'),
      rollback: sqlite.prepare('rollback'),
      mark: sqlite.prepare('savepoint job'),
      keep: sqlite.prepare('release job'),
      undo: sqlite.prepare('rollback to job'),
    };
    this.#changes = sqlite.prepare('select total_changes()').pluck();
    this.#rememberTime = sqlite.prepare(`update counters set value = ? where name = 'clock'`);
  }

  run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closedError(this.#deps.path));
    return new Promise((resolve, reject) => {
      let value: T;
      this.#waiting.push({
        run: async (session) => {
          value = await work(session);
        },
        answer: () => {
          resolve(value);
        },
        reject,
      });
      this.#running ??= this.#flush();
    });
  }

  /** Resolves once all requested work is done. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    await this.#syncing;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      await this.#runBatch(this.#waiting.splice(0, MAX_JOBS));
    }
    this.#running = undefined;
  }

  /** Awaits nothing but Kysely, which on SQLite answers in the same turn of the event loop. */
  async #runBatch(jobs: readonly Job[]): Promise<void> {
    const { path, nowMs } = this.#deps;
    const done: Job[] = [];
    let isRead = true;
    try {
      this.#statements.begin.run();
      const before = this.#changes.get();
      for (const job of jobs) if (await this.#runJob(job)) done.push(job);
      isRead = this.#changes.get() === before;
      if (!isRead) this.#rememberTime.run(nowMs());
      this.#statements.commit.run();
    } catch (error) {
      this.#rollBack();
      const reason = ofSqlite(error, path);
      for (const job of jobs) job.reject(reason);
      return;
    }
    // What a reader saw may not be on the disk yet.
    if (this.#deps.sync === undefined || (isRead && this.#syncing === undefined)) answerAll(done);
    else {
      this.#unsynced.push(...done);
      this.#syncing ??= this.#syncAll(this.#deps.sync);
    }
  }

  async #syncAll(sync: () => Promise<void>): Promise<void> {
    while (this.#unsynced.length > 0) {
      const jobs = this.#unsynced;
      this.#unsynced = [];
      try {
        await sync();
        answerAll(jobs);
      } catch (error) {
        const reason = notSynced(this.#deps.path, error);
        for (const job of jobs) job.reject(reason);
      }
    }
    this.#syncing = undefined;
  }

  /** A disk that fails may fail here, too; the next batch tries again. */
  #rollBack(): void {
    try {
      if (this.#deps.sqlite.inTransaction) this.#statements.rollback.run();
    } catch {
      // Reports the original error.
    }
  }

  /** @throws the error that ended the whole transaction, such as a full disk */
  async #runJob(job: Job): Promise<boolean> {
    const { sqlite, db, path, nowMs } = this.#deps;
    this.#statements.mark.run();
    try {
      await job.run({ kind: 'sqlite', db, nowMs: nowMs() });
      return true;
    } catch (error) {
      if (!sqlite.inTransaction) throw error;
      this.#statements.undo.run();
      job.reject(ofSqlite(error, path));
      return false;
    } finally {
      if (sqlite.inTransaction) this.#statements.keep.run();
    }
  }
}

type Statement = Database.Statement<[]>;

function answerAll(jobs: readonly Job[]): void {
  for (const job of jobs) job.answer();
}

/** As after a commit whose answer was lost: the change may have happened. */
function notSynced(path: string, cause: unknown): OperationalError {
  return new OperationalError('STORE_UNAVAILABLE', `Cannot write the store ${path} to the disk`, { cause });
}

function closedError(path: string): OperationalError {
  return new OperationalError('STORE_UNAVAILABLE', `Cannot use the store ${path}: it is closed`);
}
