/**
 * Builds every artefact of both programs from `dist/` into `dist/packages/`: a .deb, an .rpm, a tarball and an image
 * archive each, and SHA256SUMS.
 *
 *   --cpu CPU        x64 or arm64; this machine's if left out
 *   --only FORMATS   of deb,rpm,tar,oci
 *   --revision N     of the packaging, counts up for one version of the programs; 1 if left out
 *   --out DIR
 *   --fast           compresses little, for tests
 *
 * The same checkout gives the same bytes (docs/install/packages.md): times are SOURCE_DATE_EPOCH, or that of the last commit.
 * DEBFULLNAME and DEBEMAIL say who maintains the packages.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { writeChecksums } from './package/checksums.ts';
import { packageContents, type Build } from './package/contents.ts';
import { buildDebianPackage, description } from './package/debian-package.ts';
import { describeBuild } from './package/describe-build.ts';
import { maintainerScripts } from './package/maintainer-scripts.ts';
import { buildImage } from './package/oci-image.ts';
import type { PackagedFiles } from './package/packaged-files.ts';
import { processorOf, type Processor } from './package/processor.ts';
import { RECIPES, type PackageRecipe } from './package/recipes.ts';
import { rpmFiles } from './package/rpm-files.ts';
import { buildRpmPackage, rpmVersion } from './package/rpm-package.ts';
import { libraryDependencies } from './package/shared-libraries.ts';
import { buildTarball } from './package/tarball.ts';
import { checkTools, FORMATS, type Format } from './package/tools.ts';

interface Run {
  readonly build: Build;
  readonly processor: Processor;
  readonly revision: number;
  readonly fast: boolean;
  readonly out: string;
  /** Empty folder for one artefact. */
  readonly workDir: (what: string) => string;
}

const BUILDERS: Readonly<Record<Format, (recipe: PackageRecipe, run: Run) => string>> = {
  deb: debianPackage,
  rpm: rpmPackage,
  tar: tarball,
  oci: image,
};

const workDir = mkdtempSync(join(tmpdir(), 'kuma-package-'));
try {
  packageAll();
} catch (error) {
  console.error(`Cannot build the packages: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  rmSync(workDir, { recursive: true, force: true });
}

function packageAll(): void {
  const { values } = parseArgs({
    options: {
      cpu: { type: 'string', default: process.arch },
      only: { type: 'string', default: FORMATS.join(',') },
      revision: { type: 'string', default: '1' },
      out: { type: 'string', default: 'dist/packages' },
      fast: { type: 'boolean', default: false },
    },
  });
  const formats = formatsOf(values.only);
  const processor = processorOf(values.cpu);
  checkTools(formats, processor);
  const revision = Number(values.revision);
  const run: Run = {
    build: describeBuild(processor, revision, workDir),
    processor,
    revision,
    fast: values.fast,
    out: values.out,
    workDir: (what) => {
      const folder = join(workDir, what);
      mkdirSync(folder);
      return folder;
    },
  };
  mkdirSync(values.out, { recursive: true });
  for (const recipe of RECIPES) for (const format of formats) console.log(BUILDERS[format](recipe, run));
  console.log(writeChecksums(values.out));
}

/** @throws Error about an unknown one */
function formatsOf(text: string): readonly Format[] {
  const wanted = text.split(',');
  const unknown = wanted.filter((word) => !FORMATS.some((format) => format === word));
  if (unknown.length > 0) throw new Error(`--only takes ${FORMATS.join(',')}, not "${unknown.join(',')}"`);
  return FORMATS.filter((format) => wanted.includes(format));
}

/** @returns the path of the package, as all of these */
function debianPackage(recipe: PackageRecipe, { build, processor, fast, out, workDir: folder }: Run): string {
  const { name } = recipe.program;
  const files = packageContents(recipe, build);
  const target = join(out, `${name}_${build.debianVersion}_${processor.debian}.deb`);
  buildDebianPackage(
    {
      control: {
        Package: name,
        Version: build.debianVersion,
        Architecture: processor.debian,
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
    { epoch: build.epoch, compression: fast ? 'zstd' : 'xz', workDir: folder(`${name}.deb`), target },
  );
  return target;
}

function rpmPackage(
  recipe: PackageRecipe,
  { build, processor, revision, fast, out, workDir: folder }: Run,
): string {
  const { name } = recipe.program;
  const { version, licence, maintainer, epoch } = build;
  const target = join(out, `${name}-${rpmVersion(version)}-${revision}.${processor.rpm}.rpm`);
  const files = rpmFiles(name, packageContents(recipe, { ...build, settings: 'etc/sysconfig' }));
  const { summary, recommends } = recipe;
  buildRpmPackage(
    {
      name,
      version,
      revision,
      summary,
      description: recipe.description,
      licence,
      maintainer,
      recommends,
      files,
    },
    { architecture: processor.rpm, epoch, fast, workDir: folder(`${name}.rpm`), target },
  );
  return target;
}

function tarball(recipe: PackageRecipe, { build, fast, out, workDir: folder }: Run): string {
  const { name } = recipe.program;
  const unpacked = `${name}-${build.version}-linux-${build.cpu}`;
  const target = join(out, `${unpacked}.tar.gz`);
  const where = { epoch: build.epoch, fast, workDir: folder(`${name}.tar`), target };
  buildTarball({ name, folder: unpacked, files: packageContents(recipe, build) }, where);
  return target;
}

function image(recipe: PackageRecipe, { build, processor, fast, out, workDir: folder }: Run): string {
  const { name } = recipe.program;
  const { version, licence, epoch } = build;
  const target = join(out, `${name}-${version}-linux-${build.cpu}.oci.tar`);
  const { summary, writable } = recipe;
  buildImage(
    { name, version, summary, licence, processor, writable, files: packageContents(recipe, build) },
    { epoch, fast, workDir: folder(`${name}.oci`), target },
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
