import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { gzipFile } from './gzip-file.ts';
import { layOut, outsideDebian, type PackagedFile, type PackagedFiles } from './packaged-files.ts';
import { runTool } from './tools.ts';

export interface TarBuild {
  /** Seconds since 1970: the time of everything inside. */
  readonly epoch: number;
  readonly fast: boolean;
  /** Empty folder of this build's own. */
  readonly workDir: string;
  readonly target: string;
}

/** A folder that runs where it is unpacked (`bin/NAME`), and that `install.sh` copies below a prefix. */
export function buildTarball(
  { name, folder, files }: { readonly name: string; readonly folder: string; readonly files: PackagedFiles },
  { epoch, fast, workDir, target }: TarBuild,
): void {
  const root = join(workDir, folder);
  mkdirSync(root);
  layOut(root, tarballFiles(name, files), epoch);
  const plain = join(workDir, 'plain.tar');
  archive({ from: workDir, parts: [folder], epoch, target: plain });
  gzipFile(plain, target, fast ? 1 : 9);
}

/** `usr/` is the prefix; what is in `etc/` comes along as `etc/`. */
function tarballFiles(name: string, files: PackagedFiles): PackagedFiles {
  const script = (file: string): PackagedFile => ({
    content: readFileSync(join(import.meta.dirname, 'tarball', file), 'utf8').replaceAll('@NAME@', name),
    mode: 0o755,
  });
  return new Map<string, PackagedFile>([
    ...[...outsideDebian(files)].map(([path, file]) => [path.replace(/^usr\//, ''), file] as const),
    ['install.sh', script('install.sh')],
    ['uninstall.sh', script('uninstall.sh')],
    ['LICENSE', { content: readFileSync('LICENSE') }],
  ]);
}

/** An archive of these parts of a folder, with the same bytes on every machine and at any time. */
export function archive(tar: {
  readonly from: string;
  readonly parts: readonly string[];
  readonly epoch: number;
  readonly target: string;
  /** The owner of everything in it; root if left out. */
  readonly owner?: number;
  /** Readable for all, writable for the owner, with any umask. */
  readonly plainModes?: true;
  /** Adds to an existing archive. */
  readonly append?: true;
}): void {
  const { from, parts, epoch, target, owner = 0, append, plainModes } = tar;
  const owners = [`--owner=${owner}`, `--group=${owner}`, '--numeric-owner'];
  runTool('tar', [
    append === true ? '--append' : '--create',
    `--file=${target}`,
    `--directory=${from}`,
    '--format=ustar',
    '--sort=name',
    `--mtime=@${epoch}`,
    ...owners,
    ...(plainModes === true ? ['--mode=u=rwX,go=rX'] : []),
    '--',
    ...parts,
  ]);
}
