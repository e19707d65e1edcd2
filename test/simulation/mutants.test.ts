import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { MUTANTS } from './mutants.ts';

const ROOT = join(import.meta.dirname, '..', '..');

test.for(MUTANTS)('the mutation "$name" still has a place', (mutant) => {
  for (const { file, from, to } of [mutant, ...(mutant.also ?? [])]) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    expect(text.split(from)).toHaveLength(2);
    expect(text.replace(from, () => to)).not.toBe(text);
  }
  for (const file of mutant.survives?.foundBy ?? []) expect(existsSync(join(ROOT, file))).toBe(true);
});
