import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, rename, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** An existing name, another user's link included, is an error and never followed. */
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A file that is written completely or not at all, readable for its owner. Later writes wait for earlier ones. */
export class WholeFile {
  readonly path: string;
  #written: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  /** Settles when `text` is on disk. */
  write(text: string): Promise<void> {
    const write = this.#written.then(() => this.#replace(text));
    this.#written = write.catch(() => {});
    return write;
  }

  async #replace(text: string): Promise<void> {
    const partial = `${this.path}.${randomBytes(6).toString('hex')}.tmp`;
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    try {
      await writeFile(partial, text, { mode: 0o600, flag: NEW_FILE });
      await rename(partial, this.path);
    } catch (error) {
      await unlink(partial).catch(() => {});
      throw error;
    }
  }
}
