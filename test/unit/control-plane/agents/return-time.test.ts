import { expect, test } from 'vitest';

import { attachPauseMs } from '../../../../agent/companion/attach-pace.pure.ts';
import { returnTimeMs } from '../../../../control-plane/agents/return-time.pure.ts';

test('one agent has at least the longest pause that an agent makes before it attaches again', () => {
  const longestMs = Math.max(
    ...[0, 5, 10, 100].map((failures) => attachPauseMs('lost', failures, 0.999_999)),
  );
  expect(returnTimeMs(1)).toBeGreaterThanOrEqual(longestMs);
});

test('each agent adds the same time: ten thousand have 40 s', () => {
  expect(returnTimeMs(10_000) - returnTimeMs(5_000)).toBe(returnTimeMs(6_000) - returnTimeMs(1_000));
  expect(returnTimeMs(10_000)).toBe(40_000);
});
