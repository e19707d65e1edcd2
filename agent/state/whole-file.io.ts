import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import process from 'node:process';

/** A file that is written whole or not at all, readable for its owner; later writes wait for earlier ones. */
export class WholeFile {
  readonly path: string;
  #written: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  /** Settles when `text` is on disk. */
  write(text: string): Promise<void> {
    const write = this.#written.then(async () => {
      const partial = `${this.path}.${process.pid}.tmp`;
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      await writeFile(partial, text, { mode: 0o600 });
      await rename(partial, this.path);
    });
    this.#written = write.catch(() => {});
    return write;
  }
}
