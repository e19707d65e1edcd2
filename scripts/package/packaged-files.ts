import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';

export interface PackagedFile {
  /** 0o644 if left out. */
  readonly mode?: number;
  readonly content: string | Uint8Array | { readonly copyOf: string };
}

/** By path in the file system of a host, without the leading slash. */
export type PackagedFiles = ReadonlyMap<string, PackagedFile>;

/** What only Debian's tools read. */
const DEBIANS = /^etc\/needrestart\/|^usr\/share\/lintian\/|\/changelog\.Debian\.gz$/;

/** The files of a Debian package, moved for other hosts: zsh looks in another folder there. */
export function outsideDebian(files: PackagedFiles): PackagedFiles {
  return new Map(
    [...files]
      .filter(([path]) => !DEBIANS.test(path))
      .map(([path, file]) => [path.replace('zsh/vendor-completions/', 'zsh/site-functions/'), file]),
  );
}

/**
 * Writes the files below `root`. The result does not depend on the user, the time or the umask of the build.
 *
 * @param epoch seconds since 1970: the time of every file and folder
 */
export function layOut(root: string, files: PackagedFiles, epoch: number): void {
  for (const [path, { mode = 0o644, content }] of files) {
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    if (typeof content === 'string' || content instanceof Uint8Array) writeFileSync(target, content);
    else copyFileSync(content.copyOf, target);
    chmodSync(target, mode);
  }
  const folders = [root, ...entriesBelow(root).filter((path) => statSync(path).isDirectory())];
  for (const folder of folders) chmodSync(folder, 0o755);
  // From the inside out, because writing into a folder changes its time.
  for (const path of [...entriesBelow(root).toReversed(), root]) utimesSync(path, epoch, epoch);
}

/** The content of a package's `md5sums`, which dpkg -V compares. */
export function md5sums(root: string): string {
  return filesBelow(root)
    .map((path) => `${createHash('md5').update(readFileSync(path)).digest('hex')}  ${relative(root, path)}\n`)
    .join('');
}

/** Kibibytes, as dpkg-gencontrol counts: whole ones for each file, one for each folder. */
export function installedSizeKib(root: string): number {
  return entriesBelow(root)
    .map((path) => statSync(path))
    .reduce((sum, stat) => sum + (stat.isFile() ? Math.ceil(stat.size / 1_024) : 1), 1);
}

function filesBelow(root: string): readonly string[] {
  return entriesBelow(root).filter((path) => statSync(path).isFile());
}

/** Sorted, each folder before what is in it. */
function entriesBelow(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .map((path) => join(root, path));
}
