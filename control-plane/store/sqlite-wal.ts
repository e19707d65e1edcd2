import { realpathSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

/**
 * The write-ahead log of an open SQLite file. With `synchronous = NORMAL`, SQLite writes a commit there and leaves
 * the sync to us. It still syncs what keeps the file whole around a checkpoint.
 *
 * The log is one file from the first write until the connection closes. SQLite has no lock on it that would be
 * dropped when it is closed here.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
export class SqliteWal {
  readonly #path: string;
  #file: Promise<FileHandle> | undefined;

  /** @param path of the database, which exists */
  constructor(path: string) {
    this.#path = `${realpathSync(path)}-wal`;
  }

  /** Resolves when everything that was written before is on the disk. */
  async sync(): Promise<void> {
    const opening = (this.#file ??= open(this.#path, 'r+'));
    try {
      await (await opening).datasync();
    } catch (error) {
      this.#file = undefined;
      await opening.then((file) => file.close()).catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = await this.#file?.catch(() => undefined);
    await file?.close();
  }
}
