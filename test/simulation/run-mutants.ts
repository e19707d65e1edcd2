import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { MUTANTS, type Mutant } from './mutants.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** What the simulation loads. */
const FOLDERS = ['agent', 'control-plane', 'kernel', 'kuma', 'program', 'proto', 'test'];

/** `npm run mutants -- WORD`: those whose name has the word; all if there is none. Exit 1 if one is not found. */
function main(): void {
  const [word = ''] = process.argv.slice(2);
  const copy = mkdtempSync(join(tmpdir(), 'mutants-'));
  for (const folder of FOLDERS) cpSync(join(ROOT, folder), join(copy, folder), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  try {
    for (const mutant of MUTANTS.filter(({ name }) => name.includes(word))) report(mutant, copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function report(mutant: Mutant, copy: string): void {
  const file = join(copy, mutant.file);
  const text = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    text.replace(mutant.from, () => mutant.to),
  );
  const beganMs = performance.now();
  const argv = [join(copy, 'test', 'simulation', 'hunt.ts')];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  writeFileSync(file, text);
  const isFound = status === 1 && stdout.trim() !== '';
  const isExpected = isFound === (mutant.survives === undefined);
  if (!isExpected) process.exitCode = 1;
  const found = stdout.trim() === '' ? stderr.trim().slice(0, 400) : stdout.trim();
  const why = mutant.survives === undefined ? '' : ` (${mutant.survives})`;
  console.log(`${isExpected ? 'ok ' : 'NO '} ${mutant.name}: ${found}${why}, ${seconds(beganMs)} s`);
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 1_000);
}

main();
