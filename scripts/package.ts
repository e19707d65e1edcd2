/**
 * Builds the Debian packages of both programs from `dist/` into `dist/packages/`, for the processor of this machine.
 *
 *   --revision N     of the packaging, counts up for one version of the programs; 1 if left out
 *   --compression C  xz, or zstd for tests
 *   --out DIR
 *
 * The same checkout gives the same bytes (docs/packages.md): times are SOURCE_DATE_EPOCH, or that of the last commit.
 * DEBFULLNAME and DEBEMAIL say who maintains the packages.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { VERSION } from '../kernel/version.ts';
import { packageContents, type Build } from './package/contents.ts';
import {
  buildDebianPackage,
  debianVersion,
  description,
  type Compression,
} from './package/debian-package.ts';
import { maintainerScripts } from './package/maintainer-scripts.ts';
import type { PackagedFiles } from './package/packaged-files.ts';
import { RECIPES, type PackageRecipe } from './package/recipes.ts';
import { libraryDependencies } from './package/shared-libraries.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

const { values } = parseArgs({
  options: {
    revision: { type: 'string', default: '1' },
    compression: { type: 'string', default: 'xz' },
    out: { type: 'string', default: 'dist/packages' },
  },
});

const workDir = mkdtempSync(join(tmpdir(), 'kuma-package-'));
try {
  const build = describeBuild(Number(values.revision));
  mkdirSync(values.out, { recursive: true });
  for (const recipe of RECIPES) console.log(packageOf(recipe, build));
} finally {
  rmSync(workDir, { recursive: true, force: true });
}

/** @returns the path of the package */
function packageOf(recipe: PackageRecipe, build: Build): string {
  const { name } = recipe.program;
  const files = packageContents(recipe, build);
  const architecture = ARCHITECTURES[build.cpu] ?? build.cpu;
  const target = join(values.out, `${name}_${build.debianVersion}_${architecture}.deb`);
  const buildDir = join(workDir, name);
  mkdirSync(buildDir);
  buildDebianPackage(
    {
      control: {
        Package: name,
        Version: build.debianVersion,
        Architecture: architecture,
        Maintainer: build.maintainer,
        Section: 'net',
        Priority: 'optional',
        Depends: libraryDependencies(binariesOf(files)).join(', '),
        Recommends: recipe.recommends.join(', '),
        Description: description(recipe.summary, recipe.description),
      },
      files,
      scripts: maintainerScripts(name),
    },
    { epoch: build.epoch, compression: values.compression as Compression, workDir: buildDir, target },
  );
  return target;
}

function binariesOf(files: PackagedFiles): readonly string[] {
  return [...files].flatMap(([path, { content }]) =>
    /(\/node|\.node)$/.test(path) && typeof content === 'object' && 'copyOf' in content
      ? [content.copyOf]
      : [],
  );
}

function describeBuild(revision: number): Build {
  const cpu = process.arch;
  const nodeFolder = `node_modules/node-linux-${cpu}`;
  if (!existsSync(nodeFolder)) throw new Error(`No Node to bring along: ${nodeFolder} is not installed`);
  const { license } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly license: string };
  return {
    version: VERSION,
    debianVersion: debianVersion(VERSION, revision),
    epoch: sourceDateEpoch(),
    maintainer: maintainer(),
    cpu,
    nodeFolder,
    stripped: strip,
    licence: license,
  };
}

/** 18 MB less. Of a copy: what is in `node_modules/` may be one file with what other checkouts have. */
function strip(path: string): string {
  const target = join(workDir, path.replaceAll('/', '_'));
  if (existsSync(target)) return target;
  try {
    execFileSync('strip', ['--strip-unneeded', '-o', target, path], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    throw new Error('Cannot strip the binaries: is the package binutils installed?', { cause: error });
  }
  return target;
}

/** See reproducible-builds.org/specs/source-date-epoch. @throws Error where neither it nor a commit is known */
function sourceDateEpoch(): number {
  const given = process.env['SOURCE_DATE_EPOCH'];
  const text = given ?? execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' });
  const epoch = Number(text);
  if (!Number.isSafeInteger(epoch) || epoch <= 0)
    throw new Error(`SOURCE_DATE_EPOCH: not a time: "${text.trim()}"`);
  return epoch;
}

function maintainer(): string {
  const {
    DEBFULLNAME: name = 'kuma-dp-agent developers',
    DEBEMAIL: mail = 'packages@kuma-dp-agent.invalid',
  } = process.env;
  return `${name} <${mail}>`;
}
