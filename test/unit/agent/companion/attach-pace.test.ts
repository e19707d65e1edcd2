import { describe, expect, test } from 'vitest';

import { attachPauseMs, countFailures } from '../../../../agent/companion/attach-pace.pure.ts';

describe('attachPauseMs()', () => {
  test.for([
    [0, 200],
    [1, 400],
    [2, 800],
    [5, 6_400],
    [6, 10_000],
    [60, 10_000],
  ] as const)('after %i failures at most %i ms, and any time below', ([failures, ceilingMs]) => {
    expect(attachPauseMs('lost', failures, 0)).toBe(0);
    expect(attachPauseMs('lost', failures, 0.5)).toBe(ceilingMs / 2);
    expect(attachPauseMs('redirected', failures, 0.999)).toBeLessThan(ceilingMs);
  });

  test('asks within ten seconds where a newer incarnation has the name', () => {
    expect([0, 1, 2, 3, 60].map((failures) => attachPauseMs('superseded', failures, 0.5))).toEqual([
      1_000, 2_000, 4_000, 5_000, 5_000,
    ]);
  });
});

test.for([
  [0, 0, 1],
  [3, 9_999, 4],
  [3, 10_000, 0],
] as const)('%i failures, then %i ms: %i failures', ([failures, lastedMs, counted]) => {
  expect(countFailures(failures, lastedMs)).toBe(counted);
});
