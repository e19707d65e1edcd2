/**
 * Completes `package-lock.json` after npm. Run it after each dependency change.
 *
 * Removes the Node versions that packages ask for: they run on the pinned Node, but npm compares with the Node that
 * runs npm, warns (EBADENGINE), and leaves out optional packages.
 *
 * Adds stub entries for optional platform packages that the registry at hand does not carry, so that `npm ci` finds
 * `package-lock.json` in step with every `optionalDependencies` list.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface LockedPackage {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  engines?: unknown;
  optionalDependencies?: Record<string, string>;
}
interface Lockfile {
  packages: Record<string, LockedPackage>;
}

const LOCKFILE = 'package-lock.json';
const OS_WORDS: readonly (readonly [RegExp, string])[] = [
  [/darwin/, 'darwin'],
  [/win32|windows/, 'win32'],
  [/android/, 'android'],
  [/freebsd/, 'freebsd'],
  [/openharmony/, 'openharmony'],
  [/linux/, 'linux'],
];
const CPU_WORDS: readonly (readonly [RegExp, string])[] = [
  [/arm64|aarch64/, 'arm64'],
  [/x64/, 'x64'],
  [/ia32/, 'ia32'],
  [/armv7|arm-/, 'arm'],
  [/ppc64/, 'ppc64'],
  [/riscv64/, 'riscv64'],
  [/s390x/, 's390x'],
  [/loong64/, 'loong64'],
  [/wasm32/, 'wasm32'],
];

const lockfile = JSON.parse(readFileSync(LOCKFILE, 'utf8')) as Lockfile;
const { packages } = lockfile;
let added = 0;
for (const [parent, entry] of Object.entries({ ...packages })) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const version = range.replace(/^[\^~]/, '');
    const found = resolveFrom(parent, name);
    if (found !== undefined && (packages[found]?.version === version || /[\^~><* ]/.test(range))) continue;
    packages[stubPath(parent, name)] = stubOf(name, version, entry.dev === true);
    added += 1;
  }
}
for (const [path, entry] of Object.entries(packages)) if (path !== '') delete entry.engines;
lockfile.packages = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(LOCKFILE, `${JSON.stringify(lockfile, null, 2)}\n`);
console.log(`${LOCKFILE}: ${added} stub(s) added`);

/** Walks up the node_modules folders as Node does. */
function resolveFrom(parent: string, name: string): string | undefined {
  for (let base = parent; ; base = base.slice(0, Math.max(0, base.lastIndexOf('/node_modules/')))) {
    const path = `${base === '' ? '' : `${base}/`}node_modules/${name}`;
    if (path in packages) return path;
    if (base === '') return undefined;
  }
}

/** Beside its parent, or below it if another version is there already. */
function stubPath(parent: string, name: string): string {
  const beside = `${parent.slice(0, Math.max(0, parent.lastIndexOf('node_modules/')))}node_modules/${name}`;
  return beside in packages ? `${parent}/node_modules/${name}` : beside;
}

function stubOf(name: string, version: string, dev: boolean): LockedPackage {
  const word = name.replace(/^.*\//, '');
  const os = OS_WORDS.find(([pattern]) => pattern.test(word))?.[1];
  const cpu = CPU_WORDS.find(([pattern]) => pattern.test(word))?.[1];
  return {
    version,
    ...(dev ? { dev: true } : {}),
    optional: true,
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(word.includes('musl') ? { libc: ['musl'] } : {}),
    ...(os === undefined ? {} : { os: [os] }),
  };
}
