import { readFileSync } from 'node:fs';

import { outsideDebian, type PackagedFile, type PackagedFiles } from './packaged-files.ts';

/** The files of an RPM: its licences have a folder of their own, where `rpm --licensefiles` looks. */
export function rpmFiles(name: string, files: PackagedFiles): PackagedFiles {
  const licences = `usr/share/licenses/${name}`;
  return new Map<string, PackagedFile>([
    ...[...outsideDebian(files)].map(
      ([path, file]) =>
        [path === `usr/share/doc/${name}/copyright` ? `${licences}/copyright` : path, file] as const,
    ),
    [`${licences}/LICENSE`, { content: readFileSync('LICENSE') }],
  ]);
}
