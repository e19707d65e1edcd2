import { describe, expect, test } from 'vitest';

import {
  adviceOnDescriptors,
  connectionsWithin,
  readDescriptorLimit,
} from '../../../../control-plane/server/descriptors.pure.ts';

describe('connections within the descriptors of a process', () => {
  test.for([
    { descriptors: 65_536, connections: 20_000 },
    { descriptors: 20_512, connections: 20_000 },
    { descriptors: 20_511, connections: 19_999 },
    { descriptors: 10_000, connections: 9_488 },
    { descriptors: 1_024, connections: 512 },
    { descriptors: 1_023, connections: 511 },
    { descriptors: 64, connections: 32 },
    { descriptors: undefined, connections: 20_000 },
  ])('$descriptors descriptors admit $connections', ({ descriptors, connections }) => {
    expect(connectionsWithin(20_000, descriptors)).toBe(connections);
  });

  test('what to set is said where the descriptors are the limit, and suffices', () => {
    const advice = adviceOnDescriptors(20_000, 10_000);
    expect(advice).toBe(': this process may open 10000 files. Set LimitNOFILE=20512 for 20000 agents');
    expect(connectionsWithin(20_000, Number(/LimitNOFILE=(\d+)/.exec(advice)?.[1]))).toBe(20_000);
    expect(adviceOnDescriptors(20_000, 65_536)).toBe('');
    expect(adviceOnDescriptors(20_000, undefined)).toBe('');
  });

  test.for([
    [
      'Max processes 5 5 processes\nMax open files            1024                 524288               files     \n',
      1_024,
    ],
    ['Max open files            unlimited            unlimited            files     \n', undefined],
    ['', undefined],
  ] as const)('reads the soft limit of %j', ([text, limit]) => {
    expect(readDescriptorLimit(text)).toBe(limit);
  });
});
