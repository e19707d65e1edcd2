import { expect, test } from 'vitest';

import { firstViolation } from './run-histories.ts';

test('histories with even seeds: the living stay, the dead go, and nothing is left of them', async () => {
  expect(await firstViolation({ part: 0, of: 2 })).toBeUndefined();
});
