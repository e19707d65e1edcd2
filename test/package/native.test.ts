import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { COMPILERS, NATIVE_PROGRAMS, prebuilt } from '../../scripts/native-programs.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Debian 12's compiler, which made the committed binaries; another compiler makes other bytes. */
const COMPILER_VERSION = '12.2.0';

function versionOf(compiler: string): string | undefined {
  const { status, stdout } = spawnSync(compiler, ['-dumpfullversion'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

const compiles = Object.values(COMPILERS).every((compiler) => versionOf(compiler) === COMPILER_VERSION);

describe.skipIf(!compiles)('native/prebuilt', () => {
  test('is what the sources say', () => {
    using dir = new TemporaryDir();
    execFileSync(process.execPath, ['scripts/build-native.ts', dir.path], { cwd: ROOT });
    const different = NATIVE_PROGRAMS.flatMap((program) =>
      Object.keys(COMPILERS).map((cpu) => prebuilt(program, cpu)),
    ).filter(
      (file) => !readFileSync(join(ROOT, 'native/prebuilt', file)).equals(readFileSync(dir.join(file))),
    );
    expect(different).toEqual([]);
  });
});
