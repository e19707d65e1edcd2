import { expect, test } from 'vitest';

import { ExpectedAgents } from '../../../../control-plane/agents/expected-agents.ts';
import { OperationalError } from '../../../../kernel/errors.ts';

test('the agents on their way back are read once, and forgotten when all are back', async () => {
  let reads = 0;
  const expected = new ExpectedAgents({
    unseenIncarnations: () => {
      reads += 1;
      return Promise.resolve(['a', 'b', 'c']);
    },
  });
  expect({ size: expected.size, has: expected.has('a') }).toEqual({ size: 0, has: false });
  for (const left of [3, 2, 1]) {
    await expected.note(left);
    expect({ size: expected.size, has: expected.has('a') }).toEqual({ size: left, has: true });
  }
  await expected.note(0);
  expect({ size: expected.size, has: expected.has('a'), reads }).toEqual({ size: 0, has: false, reads: 1 });
});

test('a store that is away leaves their number, and they are read with the next heartbeat', async () => {
  let isAway = true;
  const expected = new ExpectedAgents({
    unseenIncarnations: () =>
      isAway
        ? Promise.reject(new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store'))
        : Promise.resolve(['a']),
  });
  await expected.note(1);
  expect({ size: expected.size, has: expected.has('a') }).toEqual({ size: 1, has: false });
  isAway = false;
  await expected.note(1);
  expect(expected.has('a')).toBe(true);
});
