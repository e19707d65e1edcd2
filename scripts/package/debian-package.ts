import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import {
  installedSizeKib,
  layOut,
  md5sums,
  type PackagedFile,
  type PackagedFiles,
} from './packaged-files.ts';
import { wrapped } from '../../kernel/wrapped-text.ts';

/**
 * xz, because dpkg reads zstd only from 1.21.18 on (Debian 12), and the agent's libraries allow Debian 10 and 11 as
 * well. A package is built once, in half a minute, and fetched by many hosts: 27 MB instead of 39. Tests use `zstd`.
 * dpkg-deb compresses in the same blocks with any number of threads, so the bytes do not depend on it.
 */
export type Compression = 'xz' | 'zstd';

const LEVELS = { xz: 6, zstd: 1 } as const;

export interface DebianPackage {
  /** In the order of the control file, without Installed-Size. */
  readonly control: Readonly<Record<string, string>>;
  readonly files: PackagedFiles;
  /** By name: postinst, prerm, postrm. */
  readonly scripts: Readonly<Record<string, string>>;
}

export interface BuildOptions {
  /** Seconds since 1970: the time of everything inside. */
  readonly epoch: number;
  readonly compression: Compression;
  /** Empty folder of this build's own. */
  readonly workDir: string;
  readonly target: string;
}

/** Writes the package to `target`. The same input gives the same bytes. */
export function buildDebianPackage({ control, files, scripts }: DebianPackage, options: BuildOptions): void {
  const { epoch, compression, workDir, target } = options;
  const root = join(workDir, 'root');
  mkdirSync(root);
  layOut(root, files, epoch);
  const fields = Object.entries({ ...control, 'Installed-Size': String(installedSizeKib(root)) });
  const conffiles = [...files.keys()]
    .filter((path) => path.startsWith('etc/'))
    .toSorted()
    .map((path) => `/${path}\n`);
  const meta: PackagedFiles = new Map<string, PackagedFile>([
    ['control', { content: orderedControl(fields) }],
    ['md5sums', { content: md5sums(root) }],
    ['conffiles', { content: conffiles.join('') }],
    ...Object.entries(scripts).map(([name, content]) => [name, { content, mode: 0o755 }] as const),
  ]);
  layOut(join(root, 'DEBIAN'), meta, epoch);
  rmSync(target, { force: true });
  execFileSync(
    'dpkg-deb',
    ['--root-owner-group', `-Z${compression}`, `-z${LEVELS[compression]}`, '--build', root, target],
    { env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) }, stdio: ['ignore', 'ignore', 'inherit'] },
  );
}

/** Description goes last, as everywhere. */
function orderedControl(fields: readonly (readonly [string, string])[]): string {
  const last = fields.filter(([name]) => name === 'Description');
  return [...fields.filter((field) => !last.includes(field)), ...last]
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

/** SemVer as Debian sorts it: `1.0.0-rc.1` comes before `1.0.0`. */
export function debianVersion(version: string, revision: number): string {
  return `${version.replace('-', '~').replaceAll('-', '.')}-${revision}`;
}

/** The field of that name: one line, then paragraphs, indented by a blank and parted by a full stop. */
export function description(summary: string, paragraphs: readonly string[]): string {
  const body = paragraphs.map((paragraph) => wrapped(paragraph, 79, ' ').join('\n'));
  return [summary, body.join('\n .\n')].join('\n');
}
