import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { fullBudget, takeLook, type LookBudget } from '../../../../agent/witness/look-budget.pure.ts';

/** @returns how many of `times` looks were made, and the rest of the budget */
function take(budget: LookBudget, times: number, how: { atMs: number; address?: (nth: number) => string }) {
  let left = budget;
  let made = 0;
  for (let nth = 0; nth < times; nth += 1) {
    const taken = takeLook(left, [how.address?.(nth) ?? `10.0.${nth >> 8}.${nth % 256}`], how.atMs);
    if ('refused' in taken) continue;
    left = taken.budget;
    made += 1;
  }
  return { made, left };
}

const same = (): string => '10.0.0.7';

describe('an agent looks', () => {
  test('64 times at once, and 20 times a second after that', () => {
    const { made, left } = take(fullBudget(0), 100, { atMs: 0 });
    expect(made).toBe(64);
    expect(take(left, 100, { atMs: 1_000 }).made).toBe(20);
    expect(take(left, 100, { atMs: 60_000 }).made).toBe(64);
  });

  test('10 times a second at any one address, and meanwhile at others', () => {
    const { made, left } = take(fullBudget(0), 30, { atMs: 0, address: same });
    expect(made).toBe(10);
    expect(take(left, 1, { atMs: 0 }).made).toBe(1);
    expect(take(left, 30, { atMs: 999, address: same }).made).toBe(0);
    expect(take(left, 30, { atMs: 1_000, address: same }).made).toBe(10);
  });

  test('not at all if only the control is over its limit, and that costs nothing', () => {
    const { left } = take(fullBudget(0), 10, { atMs: 0, address: () => '10.0.0.9' });
    expect(takeLook(left, ['10.0.0.7', '10.0.0.9'], 0)).toEqual({
      refused: 'more than 10 looks a second at 10.0.0.9',
    });
    expect(take(left, 100, { atMs: 0, address: () => '10.0.0.7' }).made).toBe(10);
  });

  test('never more than its limits in any window, whatever it is asked, and forgets addresses', () => {
    const ask = fc.record({
      waitMs: fc.nat(400),
      address: fc.integer({ min: 1, max: 3 }).map((n) => `10.0.0.${n}`),
    });
    fc.assert(
      fc.property(fc.array(ask, { maxLength: 300 }), (asks) => {
        let budget = fullBudget(0);
        let nowMs = 0;
        const made: { readonly atMs: number; readonly address: string }[] = [];
        for (const { waitMs, address } of asks) {
          nowMs += waitMs;
          const taken = takeLook(budget, [address], nowMs);
          if ('refused' in taken) continue;
          budget = taken.budget;
          made.push({ atMs: nowMs, address });
        }
        for (const [at, first] of made.entries()) {
          const after = made.slice(at).filter(({ atMs }) => atMs < first.atMs + 1_000);
          expect(after.length).toBeLessThanOrEqual(64 + 20);
          expect(after.filter(({ address }) => address === first.address).length).toBeLessThanOrEqual(10);
        }
        const later = takeLook(budget, ['10.0.0.9'], nowMs + 1_000);
        expect('budget' in later && [...later.budget.recent.keys()]).toEqual(['10.0.0.9']);
      }),
    );
  });
});
