import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { describePlan, planStop } from '../../../../agent/stop/stop-plan.pure.ts';

const DEFAULTS = { budgetMs: 60_000, settleMs: 2_250, drainTimeMs: 30_000, outlook: 'deletes' } as const;

function times(input: Parameters<typeof planStop>[0]): Record<string, number> {
  return Object.fromEntries(planStop(input).map(({ step, byMs }) => [step, byMs]));
}

describe('planStop()', () => {
  test("with the defaults has room for every step, and ends with kuma-dp's own drain time", () => {
    expect(times(DEFAULTS)).toEqual({
      deregister: 1_200,
      settle: 3_450,
      drain: 30_100,
      exit: 36_100,
      confirm: 38_100,
    });
  });

  test('where every attempt fails, nothing settles, and the last attempt is the last step', () => {
    expect(times({ ...DEFAULTS, outlook: 'fails' })).toEqual({
      deregister: 1_200,
      drain: 30_100,
      exit: 36_100,
      confirm: 36_400,
    });
  });

  test('where the object is not to be deleted, kuma-dp is told at once', () => {
    expect(times({ ...DEFAULTS, outlook: 'keeps' })).toEqual({ drain: 30_100, exit: 36_100 });
  });

  test('after a long settle, requests that began while it lasted have a second', () => {
    expect(times({ ...DEFAULTS, settleMs: 35_000 })).toMatchObject({ settle: 36_200, drain: 37_200 });
  });

  test('serves as long as the operator asks for clients outside the mesh', () => {
    expect(times({ ...DEFAULTS, externalDrainMs: 40_000 })).toMatchObject({ drain: 40_100, exit: 46_100 });
    expect(times({ ...DEFAULTS, externalDrainMs: 5_000 })).toMatchObject({ drain: 30_100 });
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

  test('says when kuma-dp would be killed', () => {
    expect(describePlan(planStop(DEFAULTS))[3]).toEqual([
      'exit',
      'by 36.1s    second SIGTERM; SIGKILL at 58s if kuma-dp still runs',
    ]);
  });

  test('lists its steps in the order in which they happen, within any budget', () => {
    const durations = fc.integer({ min: 0, max: 600_000 });
    const inputs = fc.record({
      budgetMs: fc.integer({ min: 1_000, max: 600_000 }),
      settleMs: durations,
      drainTimeMs: durations,
      externalDrainMs: fc.option(durations, { nil: undefined }),
      outlook: fc.constantFrom('deletes', 'fails', 'keeps'),
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
