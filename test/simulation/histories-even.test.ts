import { expect, test } from 'vitest';

import { firstViolation } from './run-histories.ts';

test('in histories with even seeds the companion keeps living dataplanes, and removes everything of dead ones', async () => {
  expect(await firstViolation({ part: 0, of: 2 })).toBeUndefined();
});
