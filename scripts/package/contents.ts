import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { launcher } from '../launcher.ts';
import { bashCompletion } from './bash-completion.ts';
import { billOfMaterials } from './bill-of-materials.ts';
import { bundledNode, bundledPackages } from './bundled.ts';
import { copyright } from './copyright.ts';
import { environmentFile } from './environment-file.ts';
import { fishCompletion } from './fish-completion.ts';
import { manualPage, type ManualProgram } from './manual-page.ts';
import type { PackagedFile, PackagedFiles } from './packaged-files.ts';
import { systemdFilesOf } from './systemd-files.ts';
import { zshCompletion } from './zsh-completion.ts';

export interface Recipe {
  readonly program: ManualProgram;
  /** The variables for `/etc/default`: the unit's name without its suffix, its command, and the introduction. */
  readonly environment: {
    readonly file: string;
    readonly command: string;
    readonly intro: string;
    readonly mode: number;
  };
  /** More files of this checkout, by their path on a host. */
  readonly files: Readonly<Record<string, string>>;
}

export interface Build {
  readonly version: string;
  readonly debianVersion: string;
  /** Seconds since 1970. */
  readonly epoch: number;
  readonly maintainer: string;
  /** `x64` or `arm64`, as Node calls it. */
  readonly cpu: string;
  /** Folder of the settings that units read, without slashes at its ends: `etc/default`, as Debian has it. */
  readonly settings: 'etc/default' | 'etc/sysconfig';
  /** Folder of the npm package that has Node's binary and its licence. */
  readonly nodeFolder: string;
  /** The same binary, and the addons, without what only a debugger needs; by their path in `dist/` or `node_modules/`. */
  readonly stripped: (path: string) => string;
  /** Of the program's own code, as SPDX names it. */
  readonly licence: string;
}

/** Everything that the package of a program puts on a host. */
export function packageContents(recipe: Recipe, build: Build): PackagedFiles {
  const { program } = recipe;
  const { name, section } = program;
  const node = build.stripped(join(build.nodeFolder, 'bin/node'));
  const bundled = [bundledNode(build.nodeFolder), ...bundledPackages(name)];
  const doc = `usr/share/doc/${name}`;
  const local = (text: string): string => text.replaceAll('/etc/default/', `/${build.settings}/`);
  const { version, epoch, licence } = build;
  const dated = { name, version, epoch };
  return new Map<string, PackagedFile>([
    [
      `usr/bin/${name}`,
      {
        content: launcher({
          name,
          cpu: build.cpu,
          nodes: [`lib/${name}/node`],
          main: `lib/${name}/main.js`,
        }),
        mode: 0o755,
      },
    ],
    [`usr/lib/${name}/node`, { content: { copyOf: node }, mode: 0o755 }],
    [`usr/lib/${name}/package.json`, { content: readFileSync('dist/package.json') }],
    ...code(name, build),
    ...systemdFilesOf(name).map(
      ({ source, target }) => [target, { content: local(readFileSync(source, 'utf8')) }] as const,
    ),
    ...Object.entries(recipe.files).map(([target, copyOf]) => [target, { content: { copyOf } }] as const),
    [`${build.settings}/${recipe.environment.file}`, environment(recipe, local)],
    [
      `usr/share/man/man${section}/${name}.${section}.gz`,
      { content: gzip(local(manualPage(program, dated))) },
    ],
    [`usr/share/bash-completion/completions/${name}`, { content: bashCompletion(program) }],
    [`usr/share/fish/vendor_completions.d/${name}.fish`, { content: fishCompletion(program) }],
    [`usr/share/zsh/vendor-completions/_${name}`, { content: zshCompletion(program) }],
    [
      `${doc}/copyright`,
      { content: copyright({ name, licence, licenceText: readFileSync('LICENSE', 'utf8') }, bundled) },
    ],
    [`${doc}/sbom.cdx.json`, { content: billOfMaterials({ ...dated, licence }, bundled) }],
    [`${doc}/changelog.gz`, { content: gzip(readFileSync('CHANGELOG.md', 'utf8')) }],
    [`${doc}/changelog.Debian.gz`, { content: gzip(debianChangelog(name, build)) }],
    [`usr/share/lintian/overrides/${name}`, { content: readFileSync(`scripts/package/lintian/${name}`) }],
  ]);
}

const OF_ONE_PROCESSOR = /-(x64|arm64)(\.node)?$/;

/** The bundle as it was built, with the compiled code of this processor only. */
function code(name: string, { cpu, stripped }: Build): readonly (readonly [string, PackagedFile])[] {
  const folder = join('dist', name);
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .filter((path) => statSync(join(folder, path)).isFile())
    .filter(
      (path) => !OF_ONE_PROCESSOR.test(path) || path.endsWith(`-${cpu}`) || path.endsWith(`-${cpu}.node`),
    )
    .map((path) => {
      const source = join(folder, path);
      const mode = statSync(source).mode & 0o111 ? 0o755 : 0o644;
      return [
        `usr/lib/${name}/${path}`,
        { content: { copyOf: path.endsWith('.node') ? stripped(source) : source }, mode },
      ];
    });
}

function environment(
  { program, environment: { command, intro, mode } }: Recipe,
  local: (text: string) => string,
): PackagedFile {
  const settings = program.commands[command];
  if (settings === undefined) throw new Error(`${program.name} has no command ${command}`);
  return { content: local(environmentFile(program.envPrefix, settings, intro)), mode };
}

/** Without the time and name that gzip would note down. */
function gzip(text: string): Uint8Array {
  return gzipSync(text, { level: 9 });
}

function debianChangelog(name: string, { debianVersion, maintainer, epoch }: Build): string {
  // deb-changelog(5) wants the date of RFC 5322.
  const date = new Date(epoch * 1_000).toUTCString().replace('GMT', '+0000');
  return `${name} (${debianVersion}) stable; urgency=medium\n\n  * See changelog.gz.\n\n -- ${maintainer}  ${date}\n`;
}
