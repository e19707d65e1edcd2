import { expect, test } from 'vitest';

import { kumasUnderTest, realKumaMissing } from '../support/kuma-worlds/worlds.ts';

test('the suite tests real Kuma beside the emulator', ({ skip }) => {
  if (realKumaMissing !== undefined) {
    console.info(`Real Kuma was skipped: ${realKumaMissing}. See test/support/kuma-worlds/README.md`);
    skip(realKumaMissing);
  }
  expect(kumasUnderTest.filter(({ real }) => real)).toHaveLength(1);
});
