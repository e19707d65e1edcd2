import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A third party's work that a package contains. */
export interface Bundled {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly licence: string;
  /** Whole texts, none of them empty. */
  readonly licenceTexts: readonly string[];
  /** Package URL, by which scanners find it. */
  readonly purl: string;
  /** The name under which vulnerabilities of programs outside of npm are published. */
  readonly cpe?: string;
  /** SHA-512 of what npm delivered, hexadecimal. */
  readonly sha512?: string;
  /** What is linked into it, by name and version. */
  readonly contains?: Readonly<Record<string, string>>;
}

interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
}

/** Compiled into the addon, so it is no module of any bundle. */
const LINKED: Readonly<Record<string, readonly string[]>> = {
  'node_modules/better-sqlite3': ['node_modules/node-addon-api'],
};

/** The file with the licence, for packages without a licence file. */
const LICENCE_ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  // Apache-2.0 by its package.json; what it took from Google keeps the notice in the file's head.
  'node_modules/@bufbuild/protobuf': ['dist/esm/wire/varint.js'],
};

/** What the bundle of a program contains, as `npm run build` found it. Sorted by name and version. */
export function bundledPackages(program: string): readonly Bundled[] {
  const bundled = readJson('dist/bundled-packages.json') as Readonly<Record<string, readonly string[]>>;
  const folders = (bundled[program] ?? []).flatMap((folder) => [folder, ...(LINKED[folder] ?? [])]);
  const { packages } = readJson('package-lock.json') as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  const fromNpm = [...new Set(folders)].map((folder) => npmPackage(folder, packages[folder]));
  const sqlite = folders.includes('node_modules/better-sqlite3') ? [sqliteLibrary()] : [];
  // One package may be installed in several places.
  const different = new Map([...fromNpm, ...sqlite].map((part) => [part.purl, part]));
  return [...different.values()].toSorted((a, b) => compare(a.name, b.name) || compare(a.version, b.version));
}

/**
 * The Node that the packages bring, for either processor: this script runs on the same version, linked with the same
 * libraries.
 *
 * @param folder of the npm package that carries it
 * @throws Error if that package has another version
 */
export function bundledNode(folder: string): Bundled {
  const { node: version, modules: _abi, napi: _napi, ...others } = process.versions;
  const carried = (readJson(join(folder, 'package.json')) as { readonly version: string }).version;
  if (carried !== version) throw new Error(`${folder} has Node ${carried}, but this is ${version}: npm ci`);
  const contains = Object.fromEntries(
    Object.entries(others).flatMap(([name, its]) => (its === undefined ? [] : [[name, its] as const])),
  );
  return {
    name: 'node',
    version,
    licence: 'MIT',
    licenceTexts: licenceTexts(folder),
    purl: `pkg:generic/node@${version}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    contains,
  };
}

function npmPackage(folder: string, locked: LockedPackage | undefined): Bundled {
  const { name, version, license } = readJson(join(folder, 'package.json')) as Readonly<
    Record<'name' | 'version' | 'license', string>
  >;
  if (locked?.version !== version) {
    throw new Error(`${folder} is ${version}, and not ${locked?.version} as in the lockfile: npm ci`);
  }
  const digest = /^sha512-(.+)$/.exec(locked.integrity ?? '')?.[1];
  return {
    name,
    version,
    licence: license.replace(/^\((.*)\)$/, '$1'),
    licenceTexts: licenceTexts(folder),
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    ...(digest === undefined ? {} : { sha512: Buffer.from(digest, 'base64').toString('hex') }),
  };
}

function sqliteLibrary(): Bundled {
  const header = readFileSync('node_modules/better-sqlite3/deps/sqlite3/sqlite3.h', 'utf8');
  const version = /#define SQLITE_VERSION\s+"([^"]+)"/.exec(header)?.[1];
  const blessing = /^\*\* The author disclaims copyright[\s\S]*?share freely[^\n]*/m.exec(header)?.[0];
  if (version === undefined || blessing === undefined)
    throw new Error('sqlite3.h has no version or no terms');
  return {
    name: 'sqlite',
    version,
    licence: 'blessing',
    licenceTexts: [blessing.replaceAll(/^\*\* ?/gm, '')],
    purl: `pkg:generic/sqlite@${version}`,
    cpe: `cpe:2.3:a:sqlite:sqlite:${version}:*:*:*:*:*:*:*`,
  };
}

/** @throws Error if none is found: a package may not be distributed without its licence */
function licenceTexts(folder: string): readonly string[] {
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  const texts =
    files.length > 0
      ? files.toSorted().map((file) => readFileSync(join(folder, file), 'utf8'))
      : (LICENCE_ELSEWHERE[folder]?.map((file) => headComment(join(folder, file))) ?? fromReadme(folder));
  if (texts.length === 0 || texts.some((text) => text.trim() === ''))
    throw new Error(`No licence in ${folder}`);
  return texts.map((text) => text.replaceAll('\r\n', '\n').trim());
}

function fromReadme(folder: string): readonly string[] {
  const path = join(folder, 'README.md');
  const readme = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const section = /^#+ licen[cs]e\s*$([\s\S]*?)(?=^#|$(?![\s\S]))/im.exec(readme)?.[1];
  return section === undefined ? [] : [section];
}

/** The comment lines that a source file begins with. */
function headComment(path: string): string {
  const lines = readFileSync(path, 'utf8').split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^\/\/ ?/, ''))
    .join('\n');
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
