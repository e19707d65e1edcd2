import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { judgeBudget } from '../../agent/doctor/host-findings.pure.ts';
import { divideBudget } from '../../agent/stop/stop-budget.pure.ts';
import { RUN_OPTIONS } from '../../agent/options.ts';
import { formatDuration, parseDuration } from '../../kernel/duration.ts';
import { DEFAULT_FACTS } from '../../kuma/control-plane.ts';
import { settleMs } from '../../agent/object/settle.pure.ts';
import { rowsOf } from '../support/documents.ts';
import { documented } from '../support/supervisors/documented.ts';

const PAGE = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'install', 'supervisors.md'), 'utf8');
const DRAIN_TIME_MS = 30_000;
/** What every snippet grants: more than the default budget and the agent's closing writes. */
const GRANTED_S = 75;

/** The stop budget that the doctor proposes below this limit. */
function budgetFor(supervisorMs: number): string {
  const budgetMs = RUN_OPTIONS.stopBudgetMs.fallback;
  const given = { budgetMs, settleMs: settleMs(DEFAULT_FACTS), drainTimeMs: DRAIN_TIME_MS, supervisorMs };
  const finding = judgeBudget(given).at(-1);
  if (finding?.level === 'ok') return formatDuration(budgetMs);
  return /--stop-budget (\S+):/.exec(finding?.remedy ?? '')?.[1] ?? 'none';
}

const FOR_EVER_S = 86_400;

const [, section = ''] = PAGE.split('\n## Limits\n');
const LIMITS = rowsOf(section.split(/^##/m)[0] ?? '')
  .slice(1)
  .map(([who = '', waits = '', budget = '', drain = '']) => ({
    who,
    limitMs: Number(/^([\d.]+) s$/.exec(waits)?.[1] ?? FOR_EVER_S) * 1_000,
    budgetMs: parseDuration(budget) ?? 0,
    drainMs: Number(/^([\d.]+) s$/.exec(drain)?.[1]) * 1_000,
  }));

function ms(durationMs: number): number {
  return Math.round(durationMs);
}

describe('the limits of docs/install/supervisors.md', () => {
  test('name everybody whom the pages are about', () => {
    const names = LIMITS.map(({ who }) => who).join();
    for (const name of ['Nomad', 'runit', 'Docker', 'supervisord', 'Kubernetes', 'ECS', 's6']) {
      expect(names).toContain(name);
    }
  });

  test.for(LIMITS)('the budget for $who is the doctor’s', ({ limitMs, budgetMs }) => {
    expect(formatDuration(budgetMs)).toBe(budgetFor(limitMs));
  });

  test.for(LIMITS)('the drain for $who is what settle leaves', ({ budgetMs, drainMs }) => {
    const { waitsEndAtMs } = divideBudget(0, budgetMs);
    expect(ms(drainMs)).toBe(ms(Math.min(DRAIN_TIME_MS, waitsEndAtMs - settleMs(DEFAULT_FACTS))));
  });
});

test('what the supervisors are told to wait is above the stop budget', () => {
  expect(GRANTED_S * 1_000).toBeGreaterThanOrEqual(RUN_OPTIONS.stopBudgetMs.fallback + 10_000);
  expect(documented('supervisors.md', 'supervisord/kuma-dp.conf')).toContain(`\nstopwaitsecs=${GRANTED_S}\n`);
  expect(documented('supervisors.md', 's6/timeout-kill')).toBe(`${GRANTED_S * 1_000}\n`);
});
