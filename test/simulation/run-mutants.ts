import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { MUTANTS, type Mutant } from './mutants.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** Tests of real processes run what is built. */
const NEEDS_BUILD = 'test/integration/';
const LIST_FILES = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];

/**
 * `npm run mutants -- WORD`: those whose name has the word; all if there is none. What the simulation does not find has
 * to fail each test that the mutation names. Exit 1 if one is not found.
 */
function main(): void {
  const [word = ''] = process.argv.slice(2);
  const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
  const listed = spawnSync('git', LIST_FILES, { cwd: ROOT, encoding: 'utf8' }).stdout.split('\0');
  for (const file of listed) if (file !== '') cpSync(join(ROOT, file), join(copy, file));
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  try {
    for (const mutant of MUTANTS.filter(({ name }) => name.includes(word))) report(mutant, copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function report(mutant: Mutant, copy: string): void {
  const restore = [mutant, ...(mutant.also ?? [])].map(({ file, from, to }) => {
    const path = join(copy, file);
    const text = readFileSync(path, 'utf8');
    writeFileSync(
      path,
      text.replace(from, () => to),
    );
    return (): void => writeFileSync(path, text);
  });
  const beganMs = performance.now();
  const { found, isExpected } = hunt(mutant, copy);
  for (const each of restore.toReversed()) each();
  if (!isExpected) process.exitCode = 1;
  console.log(`${isExpected ? 'ok ' : 'NO '} ${mutant.name}: ${found}, ${seconds(beganMs)} s`);
}

interface Finding {
  readonly found: string;
  readonly isExpected: boolean;
}

function hunt(mutant: Mutant, copy: string): Finding {
  const { stdout, stderr, status } = run([join(copy, 'test', 'simulation', 'hunt.ts')], copy);
  const said = stdout.trim();
  if (status === 0 && mutant.survives !== undefined) return survive(mutant.survives, copy);
  const isFound = status === 1 && said !== '';
  return {
    found: said === '' ? stderr.trim().slice(0, 400) : said,
    isExpected: isFound && mutant.survives === undefined,
  };
}

/** The simulation does not find it: each of these tests does. */
function survive({ because, foundBy }: NonNullable<Mutant['survives']>, copy: string): Finding {
  const missed = foundBy.filter((file) => {
    const build = file.startsWith(NEEDS_BUILD) ? ['--build'] : [];
    return run([join('scripts', 'run.cjs'), ...build, 'vitest', 'run', file], copy).status === 0;
  });
  const found = missed.length > 0 ? `not found by ${missed.join(', ')}` : `found by ${foundBy.join(', ')}`;
  return { found: `survives (${because}), ${found}`, isExpected: missed.length === 0 };
}

function run(argv: readonly string[], cwd: string): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, argv, { cwd, encoding: 'utf8' });
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 1_000);
}

main();
