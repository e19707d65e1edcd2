import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { drawSome } from '../../../../control-plane/witness/draw.pure.ts';

function isEven(one: number): boolean {
  return one % 2 === 0;
}

test('draws as many distinct acceptable ones as there are, whatever is random', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(), { maxLength: 40 }),
      fc.nat(12),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (from, count, random) => {
        const drawn = drawSome(from, { count, accepts: isEven, random: () => random });
        expect(new Set(drawn).size).toBe(drawn.length);
        expect(drawn.every(isEven)).toBe(true);
        expect(drawn).toHaveLength(Math.min(count, from.filter(isEven).length));
      },
    ),
  );
});

test('of ten thousand, few are looked at', () => {
  let looks = 0;
  const accepts = (): boolean => {
    looks += 1;
    return true;
  };
  const from = Array.from({ length: 10_000 }, (_, at) => at);
  expect(drawSome(from, { count: 4, accepts, random: Math.random })).toHaveLength(4);
  expect(looks).toBeLessThan(20);
});

test('none is drawn where none is wanted', () => {
  expect(drawSome([1, 2, 3], { count: -1, accepts: () => true, random: () => 0 })).toEqual([]);
});
