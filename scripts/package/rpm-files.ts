import { readFileSync } from 'node:fs';

import type { PackagedFile, PackagedFiles } from './packaged-files.ts';

/** Of a Debian package, what only Debian's tools read. */
const DEBIANS = /^etc\/needrestart\/|^usr\/share\/lintian\/|\/changelog\.Debian\.gz$/;

/** The files of an RPM: licences are in a folder of their own, where `rpm --licensefiles` looks. */
export function rpmFiles(name: string, files: PackagedFiles): PackagedFiles {
  const licences = `usr/share/licenses/${name}`;
  return new Map<string, PackagedFile>([
    ...[...files]
      .filter(([path]) => !DEBIANS.test(path))
      .map(
        ([path, file]) =>
          [path === `usr/share/doc/${name}/copyright` ? `${licences}/copyright` : path, file] as const,
      ),
    [`${licences}/LICENSE`, { content: readFileSync('LICENSE') }],
  ]);
}
