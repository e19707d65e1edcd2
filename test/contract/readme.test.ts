import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { describePlan, planStop } from '../../agent/stop/stop-plan.pure.ts';
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

test('docs/reference/options.md shows the plan that the defaults give', () => {
  const steps = planStop({ budgetMs: 60_000, settleMs: 2_250, drainTimeMs: 30_000, outlook: 'deletes' });
  const shown = describePlan(steps).map(([step, what]) => `${step.padEnd('deregister'.length)}  ${what}`);
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'reference', 'options.md'), 'utf8');
  expect(page).toContain(`\nA stop, at the latest:\n${shown.join('\n')}\n`);
});
