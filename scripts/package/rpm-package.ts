import { mkdirSync, readFileSync, writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

import { layOut, type PackagedFiles } from './packaged-files.ts';
import { runTool } from './tools.ts';
import { wrapped } from '../../kernel/wrapped-text.ts';

export interface RpmPackage {
  readonly name: string;
  readonly version: string;
  readonly revision: number;
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly licence: string;
  readonly maintainer: string;
  readonly recommends: readonly string[];
  readonly files: PackagedFiles;
}

export interface RpmBuild {
  /** As RPM calls the processor. */
  readonly architecture: string;
  /** Seconds since 1970: the time of everything inside. */
  readonly epoch: number;
  /** For tests: larger, but built sooner. */
  readonly fast: boolean;
  /** Empty folder of this build's own. */
  readonly workDir: string;
  readonly target: string;
}

/** RPM's own changes to binaries and scripts are off: the files are the same bytes in every package. */
const DEFINES: Readonly<Record<string, string>> = {
  __os_install_post: '%{nil}',
  _build_id_links: 'none',
  debug_package: '%{nil}',
  _buildhost: 'localhost',
  use_source_date_epoch_as_buildtime: '1',
  clamp_mtime_to_source_date_epoch: '1',
  source_date_epoch_from_changelog: '0',
  // RHEL 9 is the first that asks for it; RHEL 8 reads it as well.
  _binary_filedigest_algorithm: '8',
};

/**
 * Writes the package to `target`. The same input gives the same bytes. RPM reads the dependencies from the binaries.
 */
export function buildRpmPackage(rpm: RpmPackage, build: RpmBuild): void {
  const { architecture, epoch, fast, workDir, target } = build;
  const stage = join(workDir, 'stage');
  mkdirSync(stage);
  layOut(stage, rpm.files, epoch);
  const spec = join(workDir, `${rpm.name}.spec`);
  writeFileSync(spec, specification(rpm, stage, epoch));
  const defines = {
    ...DEFINES,
    _topdir: workDir,
    _tmppath: workDir,
    _rpmdir: workDir,
    _build_name_fmt: 'built.rpm',
    _binary_payload: fast ? 'w1.zstdio' : 'w15.zstdio',
  };
  const argv = Object.entries(defines).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
  runTool('rpmbuild', ['-bb', '--target', `${architecture}-linux`, ...argv, spec], {
    env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch), LC_ALL: 'C', TZ: 'UTC' },
  });
  renameSync(join(workDir, 'built.rpm'), target);
}

/** SemVer as RPM sorts it: `1.0.0-rc.1` comes before `1.0.0`. */
export function rpmVersion(version: string): string {
  return version.replace('-', '~').replaceAll('-', '.');
}

function specification(rpm: RpmPackage, stage: string, epoch: number): string {
  const version = rpmVersion(rpm.version);
  const scriptlets = ['post', 'preun', 'postun'].map(
    (name) =>
      `%${name}\n${escape(readFileSync(join(import.meta.dirname, 'rpm-scriptlets', rpm.name, name), 'utf8'))}`,
  );
  // "Tue Feb 03 2026", as RPM wants it.
  const [day = '', date, month, year] = new Date(epoch * 1_000).toUTCString().split(' ');
  return `Name: ${rpm.name}
Version: ${version}
Release: ${rpm.revision}
Summary: ${rpm.summary.slice(0, 1).toUpperCase()}${rpm.summary.slice(1)}
Group: System Environment/Daemons
License: ${rpm.licence}
Packager: ${rpm.maintainer}
${rpm.recommends.map((name) => `Recommends: ${name}\n`).join('')}
%description
${rpm.description.map((paragraph) => wrapped(paragraph, 78).join('\n')).join('\n\n')}

%install
cp -a '${stage}/.' '%{buildroot}'

${scriptlets.join('\n')}
%files
${filesSection(rpm)}

%changelog
* ${day.replace(',', '')} ${month} ${date} ${year} ${rpm.maintainer} - ${version}-${rpm.revision}
- See /usr/share/doc/${rpm.name}.
`;
}

/** The package owns only its own folders, not those that every host has. */
function filesSection({ name, files }: RpmPackage): string {
  const own = [`usr/lib/${name}`, `usr/share/doc/${name}`, `usr/share/licenses/${name}`];
  const folders = [...files.keys()]
    .flatMap((path) => path.split('/').map((_part, at, parts) => parts.slice(0, at).join('/')))
    .filter((folder) => own.some((each) => folder === each || folder.startsWith(`${each}/`)));
  const lines = [...files].map(([path, { mode = 0o644 }]) => {
    const kind = path.startsWith('etc/')
      ? '%config(noreplace) '
      : path.startsWith('usr/share/licenses/')
        ? '%license '
        : path.startsWith('usr/share/doc/') || path.startsWith('usr/share/man/')
          ? '%doc '
          : '';
    return `%attr(${mode.toString(8).padStart(4, '0')}, root, root) ${kind}"/${path}"`;
  });
  return [
    ...[...new Set(folders)].toSorted().map((folder) => `%dir %attr(0755, root, root) "/${folder}"`),
    ...lines.toSorted(),
  ].join('\n');
}

/** A scriptlet is a text in which RPM expands macros. */
function escape(script: string): string {
  return script.replace(/^#!.*\n/, '').replaceAll('%', '%%');
}
