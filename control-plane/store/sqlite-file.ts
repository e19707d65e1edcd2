import { statSync } from 'node:fs';

import Database from 'better-sqlite3';

import { OperationalError } from '../../kernel/errors.ts';
import { damaged, ofSqlite } from './sqlite-errors.ts';

/** "kuma", which marks a file of this program. @see https://www.sqlite.org/fileformat.html#application_id */
const APPLICATION_ID = 0x6b_75_6d_61;
/** @see https://www.sqlite.org/fileformat.html#pages */
const SMALLEST_PAGE = 512;
/** A process that opens the file at the same moment is about to be refused, and closes it. */
const LOCK_PATIENCE_MS = 300;

/**
 * Opens the file for this process alone. The kernel releases the lock when the process ends, however it ends.
 *
 * @throws `STORE_UNUSABLE` if another process has it, or it is damaged, or of another program
 */
export function openSqliteFile(path: string): Database.Database {
  refuseLostFile(path);
  let sqlite: Database.Database | undefined;
  try {
    sqlite = new Database(path, { timeout: LOCK_PATIENCE_MS });
    lock(sqlite, path);
    check(sqlite, path);
    claim(sqlite, path);
    // An acknowledged write survives a power failure.
    sqlite.pragma('journal_mode = WAL');
    sqlite.pragma('synchronous = FULL');
    return sqlite;
  } catch (error) {
    sqlite?.close();
    const converted = ofSqlite(error, path);
    if (converted instanceof OperationalError) throw converted;
    // Its folder does not exist: better-sqlite3 says so in a TypeError.
    throw new OperationalError('STORE_UNUSABLE', `Cannot open the store ${path}`, { cause: error });
  }
}

/** Refuses files that SQLite would treat as new and overwrite. */
function refuseLostFile(path: string): void {
  const size = sizeOf(path) ?? 0;
  if (size > 0 && size < SMALLEST_PAGE) throw damaged(path, `it is damaged (${size} bytes are left of it)`);
  if (size === 0 && (sizeOf(`${path}-wal`) ?? 0) > 0)
    throw damaged(path, 'it is empty, but its write-ahead log is not');
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

function lock(sqlite: Database.Database, path: string): void {
  sqlite.pragma('locking_mode = EXCLUSIVE');
  try {
    sqlite.exec('begin exclusive; commit');
  } catch (error) {
    if (!(error instanceof Database.SqliteError) || !error.code.startsWith('SQLITE_BUSY')) throw error;
    throw new OperationalError(
      'STORE_UNUSABLE',
      `Cannot use the store ${path}: another process has it. A file is for one kuma-deregistrar; for several, use --store postgres://…`,
      { cause: error },
    );
  }
}

function check(sqlite: Database.Database, path: string): void {
  const found = String(sqlite.pragma('quick_check(1)', { simple: true }));
  if (found !== 'ok') throw damaged(path, `it is damaged (${found.replaceAll('\n', ' ')})`);
}

/** Marks a new file as ours. */
function claim(sqlite: Database.Database, path: string): void {
  if (sqlite.pragma('application_id', { simple: true }) === APPLICATION_ID) return;
  const tables = sqlite.prepare(`select count(*) from sqlite_schema`).pluck().get();
  if (tables !== 0) throw damaged(path, 'it is a database of another program');
  sqlite.pragma(`application_id = ${APPLICATION_ID}`);
}
