import Database from 'better-sqlite3';

import { describeError, OperationalError } from '../../kernel/errors.ts';

const { SqliteError } = Database;

/** A damaged file, with what its loss costs and what to do. */
export function damaged(path: string, what: string, cause?: unknown): OperationalError {
  return new OperationalError(
    'STORE_UNUSABLE',
    `Cannot use the store ${path}: ${what}. Move the file away, with its -wal, and start again: pending departures are lost, and the sweep deletes lifecycle-managed dataplanes that stay offline`,
    { cause },
  );
}

/** Bugs stay what they are. */
export function ofSqlite(error: unknown, path: string): unknown {
  if (!(error instanceof SqliteError)) return error;
  const kind = error.code.split('_').slice(0, 2).join('_');
  if (DAMAGE.has(kind)) return damaged(path, `it is damaged (${describeError(error)})`, error);
  if (!TRANSIENT.has(kind)) return error;
  return new OperationalError('STORE_UNAVAILABLE', `Cannot use the store ${path}`, { cause: error });
}

const DAMAGE: ReadonlySet<string> = new Set(['SQLITE_CORRUPT', 'SQLITE_NOTADB', 'SQLITE_FORMAT']);

/** A quota or a limit reports a full disk as an I/O error. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'SQLITE_FULL',
  'SQLITE_IOERR',
  'SQLITE_CANTOPEN',
  'SQLITE_READONLY',
  'SQLITE_BUSY',
  'SQLITE_NOMEM',
  'SQLITE_PERM',
  'SQLITE_AUTH',
]);
