import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { planStop } from '../../../../agent/stop/stop-plan.pure.ts';

const DEFAULTS = { budgetMs: 60_000, settleMs: 2_250, drainTimeMs: 30_000, deregisters: true } as const;

function times(input: Parameters<typeof planStop>[0]): Record<string, number> {
  return Object.fromEntries(planStop(input).map(({ step, byMs }) => [step, byMs]));
}

describe('planStop()', () => {
  test('with the defaults has room for every step', () => {
    expect(times(DEFAULTS)).toEqual({
      deregister: 1_200,
      settle: 3_450,
      drain: 33_450,
      exit: 39_450,
      confirm: 41_450,
    });
  });

  test('without a deregistration drains at once', () => {
    expect(times({ ...DEFAULTS, deregisters: false })).toEqual({
      drain: 30_000,
      exit: 36_000,
      confirm: 38_000,
    });
  });

  test('with a small budget shortens the drain first', () => {
    expect(times({ ...DEFAULTS, budgetMs: 20_000 })).toEqual({
      deregister: 1_200,
      settle: 3_450,
      drain: 14_000,
      exit: 19_000,
      confirm: 20_000,
    });
  });

  test('with a tiny budget shortens settle as well, and drops no step', () => {
    expect(times({ ...DEFAULTS, budgetMs: 4_000 })).toEqual({
      deregister: 1_200,
      settle: 2_800,
      drain: 2_800,
      exit: 3_800,
      confirm: 4_000,
    });
  });

  test('lists its steps in the order in which they happen, within any budget', () => {
    const durations = fc.integer({ min: 0, max: 600_000 });
    const inputs = fc.record({
      budgetMs: fc.integer({ min: 1_000, max: 600_000 }),
      settleMs: durations,
      drainTimeMs: durations,
      deregisters: fc.boolean(),
    });
    fc.assert(
      fc.property(inputs, (input) => {
        const plan = planStop(input).map(({ byMs }) => byMs);
        expect(plan).toEqual(plan.toSorted((a, b) => a - b));
        expect(plan.at(-1)).toBeLessThanOrEqual(input.budgetMs + 1e-6);
      }),
    );
  });
});
