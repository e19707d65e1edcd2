import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

import { VERSION } from '../../../kernel/version.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { packageFile, type PackageName } from './build-packages.ts';

/** `drwxr-xr-x root/root`, and the path without the leading dot. */
export interface Entry {
  readonly mode: string;
  readonly owner: string;
  readonly path: string;
}

/** A package, unpacked into a folder of its own and not installed. */
export class PackageFile implements Disposable {
  readonly name: PackageName;
  readonly file: string;
  readonly #dir = new TemporaryDir();

  constructor(folder: string, name: PackageName) {
    this.name = name;
    this.file = packageFile(folder, name, `${VERSION}-1`);
    mkdirSync(this.root);
    execFileSync('dpkg-deb', ['--extract', this.file, this.root]);
    execFileSync('dpkg-deb', ['--control', this.file, this.#dir.join('control')]);
  }

  /** What would be `/` on a host. */
  get root(): string {
    return this.#dir.join('root');
  }

  /** `/usr/bin/NAME`, as it lies below {@link root}. */
  get program(): string {
    return join(this.root, 'usr/bin', this.name);
  }

  /** A file of the control archive: `postinst`. */
  control(name: string): string {
    return this.#dir.join('control', name);
  }

  /** Everything in it, as tar lists it. */
  get entries(): readonly Entry[] {
    return execFileSync('dpkg-deb', ['--contents', this.file], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
        return { mode, owner, path: path.slice(1) };
      });
  }

  /** A file below {@link root} as text, unpacked if its name ends with `.gz`. */
  read(path: string): string {
    const bytes = readFileSync(join(this.root, path));
    return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}
