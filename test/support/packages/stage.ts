import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import type { TemporaryDir } from '../world/temporary-dir.ts';

/** The only file in a folder whose name matches. */
export function artefact(folder: string, name: RegExp): string {
  const found = readdirSync(folder).filter((file) => name.test(file));
  const [file] = found;
  if (file === undefined || found.length > 1) throw new Error(`${name} in ${folder}: ${found.join(', ')}`);
  return join(folder, file);
}

/** Unpacks a tarball. @returns the folder in it */
export function untar(file: string, dir: TemporaryDir, into: string): string {
  mkdirSync(dir.join(into), { recursive: true });
  execFileSync('tar', ['-xzf', file, '-C', dir.join(into)]);
  const [folder = ''] = readdirSync(dir.join(into));
  return dir.join(into, folder);
}

/** The root file system of an image, laid out by a tool that this project has no part in. */
export function imageRoot(file: string, dir: TemporaryDir): string {
  const layout = dir.join('layout');
  mkdirSync(layout);
  execFileSync('tar', ['-xf', file, '-C', layout]);
  execFileSync('umoci', ['unpack', '--image', `${layout}:${tagOf(file)}`, dir.join('bundle')], {
    stdio: 'pipe',
  });
  return dir.join('bundle', 'rootfs');
}

function tagOf(file: string): string {
  return /-(\d[^-]*(?:-[^-]+)?)-linux-/.exec(file)?.[1] ?? '';
}

/** The files of an RPM, below a folder. */
export function unpackRpm(file: string, root: string): void {
  mkdirSync(root, { recursive: true });
  execFileSync('sh', ['-c', 'rpm2cpio "$1" | (cd "$2" && cpio -idm --quiet)', 'unpack', file, root]);
}
