import { expect, test } from 'vitest';

import { backoffMs } from '../../../kernel/spread.ts';

const LIMITS = { baseMs: 200, capMs: 10_000 };

test.for([
  [-1, 200],
  [0, 200],
  [1, 400],
  [5, 6_400],
  [6, 10_000],
  [2_000, 10_000],
])('after %i failures the pause is random below %i ms', ([failures = 0, ceilingMs]) => {
  expect(backoffMs(failures, 1, LIMITS)).toBe(ceilingMs);
  expect(backoffMs(failures, 0, LIMITS)).toBe(0);
});
