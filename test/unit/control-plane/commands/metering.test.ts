import { expect, test } from 'vitest';

import { versionsOf } from '../../../../control-plane/commands/metering.ts';

const agents = (...versions: readonly (string | undefined)[]): Parameters<typeof versionsOf>[0] =>
  versions.map((version) => ({ channel: { version } })) as unknown as Parameters<typeof versionsOf>[0];

test('agents are counted by version; what is no version is counted together', () => {
  const counted = versionsOf(
    agents('0.1.0', '0.2.0', '0.2.0', '', undefined, 'x'.repeat(5_000), '0.2.0-rc.1', '"}'),
  );
  expect(Object.fromEntries(counted)).toEqual({ '0.1.0': 1, '0.2.0': 2, '0.2.0-rc.1': 1, other: 4 });
});

test('no agent can make more than twenty series', () => {
  const counted = versionsOf(agents(...Array.from({ length: 500 }, (_, at) => `1.${at}.0`)));
  expect(counted.size).toBeLessThanOrEqual(21);
  expect([...counted.values()].reduce((sum, count) => sum + count, 0)).toBe(500);
});
