import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  crashDeadlines,
  divideBudget,
  STOP_WISHES,
  type StopDeadlines,
} from '../../../../agent/stop/stop-budget.pure.ts';

/** What each step has for itself; settle and drain share the middle. */
function shares({ startedAtMs, deregisterByMs, waitsEndAtMs, killAtMs, endsAtMs }: StopDeadlines) {
  return {
    deregister: deregisterByMs - startedAtMs,
    waits: waitsEndAtMs - deregisterByMs,
    exit: killAtMs - waitsEndAtMs,
    confirm: endsAtMs - killAtMs,
  };
}

describe('divideBudget()', () => {
  test.for([
    {
      budget: 'the default',
      budgetMs: 60_000,
      deregister: 1_200,
      waits: 50_800,
      exit: 6_000,
      confirm: 2_000,
    },
    {
      budget: 'just enough for every wish',
      budgetMs: 40_000,
      deregister: 1_200,
      waits: 30_800,
      exit: 6_000,
      confirm: 2_000,
    },
    {
      budget: 'the drain shrinks first',
      budgetMs: 24_000,
      deregister: 1_200,
      waits: 15_600,
      exit: 6_000,
      confirm: 1_200,
    },
    {
      budget: 'then the reserves, in proportion',
      budgetMs: 10_000,
      deregister: 1_200,
      waits: 5_800,
      exit: 2_500,
      confirm: 500,
    },
    {
      budget: 'the smallest that is allowed',
      budgetMs: 1_000,
      deregister: 500,
      waits: 200,
      exit: 250,
      confirm: 50,
    },
  ])('$budgetMs ms: $budget', ({ budgetMs, deregister, waits, exit, confirm }) => {
    expect(shares(divideBudget(1_000_000, budgetMs))).toEqual({ deregister, waits, exit, confirm });
  });

  test('a kuma-dp that died is started again soon: the deregistration gets less than a second', () => {
    expect(shares(crashDeadlines(1_000_000))).toMatchObject({ deregister: 700 });
  });

  test('begins when it is told to and ends with the budget', () => {
    const { startedAtMs, endsAtMs } = divideBudget(1_234, 60_000);
    expect({ startedAtMs, endsAtMs }).toEqual({ startedAtMs: 1_234, endsAtMs: 61_234 });
  });

  const budgets = fc.integer({ min: 1, max: 24 * 3_600_000 });
  const starts = fc.integer({ min: 0, max: 1_000_000_000 });
  const wishes = fc.record({
    deregisterMs: fc.integer({ min: 1, max: 100_000 }),
    exitMs: fc.integer({ min: 1, max: 100_000 }),
    confirmMs: fc.integer({ min: 1, max: 100_000 }),
  });

  test('leaves every step something and never passes the total, for any budget and any wishes', () => {
    fc.assert(
      fc.property(starts, budgets, wishes, (startedAtMs, budgetMs, wished) => {
        const deadlines = divideBudget(startedAtMs, budgetMs, wished);
        for (const [step, share] of Object.entries(shares(deadlines))) {
          expect(share, `${step} of ${budgetMs} ms`).toBeGreaterThan(0);
        }
        expect(deadlines.endsAtMs).toBe(startedAtMs + budgetMs);
      }),
    );
  });

  test('never reserves more than was wished for', () => {
    fc.assert(
      fc.property(budgets, (budgetMs) => {
        const { deregister, exit, confirm } = shares(divideBudget(0, budgetMs));
        expect(deregister).toBeLessThanOrEqual(STOP_WISHES.deregisterMs);
        expect(exit).toBeLessThanOrEqual(STOP_WISHES.exitMs + 1e-6);
        expect(confirm).toBeLessThanOrEqual(STOP_WISHES.confirmMs + 1e-6);
      }),
    );
  });

  test('gives no step less when the budget grows', () => {
    fc.assert(
      fc.property(budgets, fc.integer({ min: 0, max: 60_000 }), (budgetMs, moreMs) => {
        const small = Object.values(shares(divideBudget(0, budgetMs)));
        const large = Object.values(shares(divideBudget(0, budgetMs + moreMs)));
        large.forEach((share, at) => {
          expect(share).toBeGreaterThanOrEqual((small[at] ?? 0) - 1e-6);
        });
      }),
    );
  });
});
