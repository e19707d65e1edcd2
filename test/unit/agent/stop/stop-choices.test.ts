import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseDuration } from '../../../../kernel/duration.ts';
import { divideBudget } from '../../../../agent/stop/stop-budget.pure.ts';
import {
  judgeChoices,
  judgeExternalSenders,
  judgeSiblings,
  type StopChoices,
} from '../../../../agent/stop/stop-choices.pure.ts';

const CHOICES: StopChoices = {
  stopBudgetMs: 60_000,
  settle: 'auto',
  externalDrain: 'auto',
  outboundHold: 'auto',
};

describe('judgeChoices()', () => {
  test('says nothing if everything fits', () => {
    expect(judgeChoices(CHOICES)).toEqual([]);
    expect(judgeChoices({ ...CHOICES, settle: 52_000, externalDrain: 0, outboundHold: 0 })).toEqual([]);
  });

  test('names each option that the budget cuts, what is left of it, and what to set', () => {
    const cut = judgeChoices({ ...CHOICES, settle: 53_000, externalDrain: 120_000, outboundHold: 60_000 });
    expect(cut.map(({ level, about }) => `${level} ${about}`)).toEqual([
      'failure --settle',
      'failure --external-drain',
      'failure --outbound-hold',
    ]);
    expect(cut[1]).toMatchObject({
      says: '2m is more than a stop budget of 1m leaves: cut to 52s',
      remedy: '--stop-budget 2m52s, or a shorter --external-drain',
    });
  });

  test('the budget that it names is enough', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 600_000 }),
        fc.integer({ min: 0, max: 600_000 }),
        (budget, settle) => {
          const [finding] = judgeChoices({ ...CHOICES, stopBudgetMs: budget, settle });
          const named =
            parseDuration(/--stop-budget (\S+),/.exec(finding?.remedy ?? '')?.[1] ?? '') ?? budget;
          const fits = finding === undefined || divideBudget(0, named).waitsEndAtMs >= settle;
          expect(fits).toBe(true);
        },
      ),
    );
  });
});

describe('judgeExternalSenders()', () => {
  const gateway = { kind: 'builtin gateway', drainTimeMs: 30_000 } as const;

  test('explains how long a load balancer has', () => {
    const [finding] = judgeExternalSenders(gateway, CHOICES);
    expect(finding).toMatchObject({ level: 'ok', about: 'external senders' });
    expect(finding?.says).toContain('serving for 30s');
    expect(judgeExternalSenders(gateway, { ...CHOICES, externalDrain: 12_000 })[0]?.says).toContain(
      'for 12s',
    );
  });

  test('warns where the budget is below the drain time, with the number to set', () => {
    const [finding] = judgeExternalSenders(gateway, { ...CHOICES, stopBudgetMs: 20_000 });
    expect(finding).toMatchObject({ level: 'warning' });
    expect(finding?.remedy).toMatch(/^--stop-budget 43s/);
  });

  test('is silent about a sidecar, unless it was told of such clients', () => {
    const sidecar = { kind: 'sidecar', drainTimeMs: 30_000 } as const;
    expect(judgeExternalSenders(sidecar, CHOICES)).toEqual([]);
    expect(judgeExternalSenders(sidecar, { ...CHOICES, externalDrain: 5_000 })).toHaveLength(1);
  });
});

test('judgeSiblings() warns of the only one of its service', () => {
  expect(judgeSiblings(false)).toEqual([]);
  expect(judgeSiblings(true)).toMatchObject([{ level: 'warning', about: 'other zones' }]);
});
