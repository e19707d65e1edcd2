import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { TemporaryDir } from '../support/world/temporary-dir.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINARIES = join(ROOT, 'node_modules', '.bin');

function run(command: string, ...args: readonly string[]): string {
  const env = { ...process.env, PATH: `${BINARIES}:${process.env['PATH'] ?? ''}` };
  return execFileSync(command, args, { cwd: ROOT, env, encoding: 'utf8' });
}

/** Every file below `folder`, by its path there. */
function filesOf(folder: string): ReadonlyMap<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .toSorted()
      .map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')]),
  );
}

test('proto/gen is what npm run proto makes of proto/, to the byte', () => {
  using folder = new TemporaryDir();
  run('buf', 'generate', '-o', folder.path);
  run(process.execPath, 'scripts/proto-descriptors.ts', folder.path);
  const made = filesOf(folder.join('proto', 'gen'));
  const committed = filesOf(join(ROOT, 'proto', 'gen'));
  expect([...committed.keys()]).toEqual([...made.keys()]);
  expect([...committed].filter(([path, text]) => text !== made.get(path)).map(([path]) => path)).toEqual([]);
});

test('buf has nothing to say against proto/', () => {
  expect(run('buf', 'lint')).toBe('');
  expect(run('buf', 'format', '--diff')).toBe('');
});
