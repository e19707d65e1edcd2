import { execFileSync } from 'node:child_process';

/** Which Debian package has a library. `libgcc1` is what Debian 10 calls it. */
const PACKAGES: Readonly<Record<string, string>> = {
  'libc.so.6': 'libc6',
  'libm.so.6': 'libc6',
  'libdl.so.2': 'libc6',
  'libpthread.so.0': 'libc6',
  'ld-linux-x86-64.so.2': 'libc6',
  'ld-linux-aarch64.so.1': 'libc6',
  'libgcc_s.so.1': 'libgcc-s1',
  'libstdc++.so.6': 'libstdc++6',
};

/** The GCC whose libstdc++ was the first with these symbols (gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html). */
const GCC_OF: readonly (readonly [symbols: string, gcc: string])[] = [
  ['GLIBCXX_3.4.21', '5'],
  ['GLIBCXX_3.4.22', '6'],
  ['GLIBCXX_3.4.24', '7'],
  ['GLIBCXX_3.4.25', '8'],
  ['GLIBCXX_3.4.28', '9'],
  ['GLIBCXX_3.4.29', '11'],
  ['GLIBCXX_3.4.30', '12'],
  ['GLIBCXX_3.4.32', '13'],
  ['CXXABI_1.3.9', '5'],
  ['CXXABI_1.3.11', '7'],
  ['CXXABI_1.3.12', '9'],
  ['CXXABI_1.3.13', '11'],
  ['CXXABI_1.3.14', '13'],
];

/**
 * The `Depends` of the binaries, from their own symbols: a newer Node or addon then requires a newer system by itself.
 * `dpkg-shlibdeps` would name the versions of the build machine.
 *
 * @throws Error about a library or a version that is not known here
 */
export function libraryDependencies(binaries: readonly string[]): readonly string[] {
  const dynamic = binaries.map((file) => readelf('-d', file)).join('\n');
  const symbols = binaries.map((file) => readelf('-V', file)).join('\n');
  const needed = new Set(
    [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name = '']) => packageOf(name)),
  );
  const glibc = newest([...symbols.matchAll(/GLIBC_(\d+(\.\d+)+)/g)].map(([, version = '']) => version));
  return [...needed].toSorted().map((name) => {
    if (name === 'libc6') return `libc6 (>= ${glibc})`;
    if (name === 'libgcc-s1') return 'libgcc-s1 | libgcc1';
    return `${name} (>= ${newest(gccVersions(symbols))})`;
  });
}

function gccVersions(symbols: string): readonly string[] {
  return [...symbols.matchAll(/\b(GLIBCXX|CXXABI)_(\d+(\.\d+)+)/g)].map(
    ([symbol, kind = '', version = '']) => {
      const first = GCC_OF.find(
        ([known]) => known.startsWith(`${kind}_`) && atLeast(known.slice(kind.length + 1), version),
      );
      if (first === undefined) throw new Error(`Which GCC has ${symbol}? See ${import.meta.filename}`);
      return first[1];
    },
  );
}

function packageOf(library: string): string {
  const name = PACKAGES[library];
  if (name === undefined) throw new Error(`Which package has ${library}? See ${import.meta.filename}`);
  return name;
}

function newest(versions: readonly string[]): string {
  return versions.reduce((best, version) => (atLeast(version, best) ? version : best), '0');
}

function atLeast(version: string, other: string): boolean {
  const [own, others] = [version, other].map((text) => text.split('.').map(Number));
  for (let at = 0; at < Math.max(own?.length ?? 0, others?.length ?? 0); at += 1) {
    const difference = (own?.[at] ?? 0) - (others?.[at] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function readelf(option: string, file: string): string {
  return execFileSync('readelf', ['--wide', option, file], { encoding: 'utf8', maxBuffer: 1 << 26 });
}
