import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

const SYSTEMD = join(import.meta.dirname, '..', '..', 'systemd');

const UNITS = 'usr/lib/systemd/system';

/** The place of each file of `systemd/`. The first matching pattern counts; a file without a match is an error. */
const HOMES: readonly {
  readonly files: RegExp;
  readonly package: string;
  /** For a file with this path below `systemd/`, without the leading slash. */
  readonly targets: (path: string) => readonly string[];
}[] = [
  { files: /^kuma-dp@?\.service$/, package: 'kuma-dp-agent', targets: (name) => [`${UNITS}/${name}`] },
  {
    files: /^kuma-dp-agent\.conf$/,
    package: 'kuma-dp-agent',
    targets: (name) => ['kuma-dp', 'kuma-dp@'].map((unit) => `${UNITS}/${unit}.service.d/10-${name}`),
  },
  // Optional, in the unit of the application.
  {
    files: /^application\.conf$/,
    package: 'kuma-dp-agent',
    targets: (name) => [`usr/share/doc/kuma-dp-agent/examples/${name}`],
  },
  {
    files: /^kuma-deregistrar\.service$/,
    package: 'kuma-deregistrar',
    targets: (name) => [`${UNITS}/${name}`],
  },
  ...['kuma-dp-agent', 'kuma-deregistrar'].map((program) => ({
    files: new RegExp(`^(sysusers|tmpfiles)\\.d/${program}\\.conf$`),
    package: program,
    targets: (path: string) => [`usr/lib/${path}`],
  })),
];

export interface SystemdFile {
  readonly source: string;
  /** Without the leading slash. */
  readonly target: string;
}

/** @throws Error about a file in `systemd/` that no package places */
export function systemdFilesOf(packageName: string): readonly SystemdFile[] {
  return readdirSync(SYSTEMD, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(SYSTEMD, join(entry.parentPath, entry.name)))
    .toSorted()
    .flatMap((name) => {
      const home = HOMES.find(({ files }) => files.test(name));
      if (home === undefined)
        throw new Error(`systemd/${name} belongs to no package: see ${import.meta.filename}`);
      const targets = home.package === packageName ? home.targets(name) : [];
      return targets.map((target) => ({ source: join(SYSTEMD, name), target }));
    });
}
