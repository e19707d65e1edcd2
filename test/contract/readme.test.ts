import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { STOP_WISHES } from '../../agent/stop/stop-budget.pure.ts';
import { formatDuration } from '../../kernel/duration.ts';

const readme = readFileSync(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8');

describe('README.md', () => {
  test.for([
    ['deregister', STOP_WISHES.deregisterMs],
    ['exit', STOP_WISHES.exitMs],
    ['confirm', STOP_WISHES.confirmMs],
  ] as const)('states how long the step "%s" may take', ([step, wishMs]) => {
    const row = readme.split('\n').find((line) => line.startsWith(`| ${step} |`));
    expect(row).toContain(`| ${formatDuration(wishMs).replace('s', ' s')}`);
  });
});
