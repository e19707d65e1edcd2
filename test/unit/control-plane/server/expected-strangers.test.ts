import { expect, test } from 'vitest';

import { ConnectionLimits } from '../../../../control-plane/server/connection-limits.io.ts';
import { DEFAULT_LIMITS } from '../../../../control-plane/server/grpc-server.io.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('a fleet that is on its way back has places of its own beside the strangers, as long as it is', () => {
  let expected = 0;
  const limits = new ConnectionLimits(
    { ...DEFAULT_LIMITS, unauthenticated: 2, expected: () => expected },
    new FakeClock(),
  );
  let hosts = 0;
  const connect = () => {
    hosts += 1;
    const admitted = limits.admit(`192.0.2.${hosts}`, () => {});
    return 'refused' in admitted ? admitted.refused : 'in';
  };
  expect([connect(), connect(), connect()]).toEqual(['in', 'in', 'unauthenticated']);
  expected = 3;
  expect([connect(), connect(), connect(), connect()]).toEqual(['in', 'in', 'in', 'unauthenticated']);
  expected = 0;
  expect(connect()).toBe('unauthenticated');
});
