import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { waitUntil } from '../world/wait-until.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const LOCK = join(ROOT, 'dist-crash-points.lock');
const SOURCES = ['control-plane/**/*.ts', 'kernel/**/*.ts', 'kuma/**/*.ts', 'test/support/crash-points.ts'];
const BUILD_MS = 120_000;

/** The companion's test build, with crash points: built now unless it is newer than its sources. */
export async function crashBuild(): Promise<string> {
  const named = process.env['KUMA_DEREGISTRAR_CRASH_BIN'];
  if (named !== undefined) return named;
  const bin = join(ROOT, 'dist-crash-points', 'bin', 'kuma-deregistrar');
  await locked(async () => {
    if (!isFresh(bin))
      await promisify(execFile)(process.execPath, ['scripts/build.ts', '--crash-points'], { cwd: ROOT });
  });
  return bin;
}

function isFresh(bin: string): boolean {
  if (!existsSync(bin)) return false;
  const builtMs = statSync(bin).mtimeMs;
  return globSync(SOURCES, { cwd: ROOT }).every((file) => statSync(join(ROOT, file)).mtimeMs < builtMs);
}

/** Several test files may build at once, each in a process of its own. */
async function locked(act: () => Promise<void>): Promise<void> {
  await waitUntil(() => tryLock() || isStale(), { what: 'the other build', budgetMs: BUILD_MS, pollMs: 50 });
  try {
    await act();
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
}

function tryLock(): boolean {
  try {
    mkdirSync(LOCK);
    return true;
  } catch {
    return false;
  }
}

/** A killed process left it. */
function isStale(): boolean {
  return existsSync(LOCK) && Date.now() - statSync(LOCK).mtimeMs > BUILD_MS;
}
