import { describe, expect, test } from 'vitest';

import { causeOfLoss, type ConnectionEnd } from '../../../../control-plane/witness/loss.pure.ts';

const CUT_BY_US: ConnectionEnd = { isOpen: false, isHungUp: false, errorCode: undefined, isCutAsDark: false };

describe('the cause of a loss', () => {
  test.for<[how: string, end: Partial<ConnectionEnd>, cause: string]>([
    ['a FIN', { isHungUp: true }, 'closed'],
    ['an RST', { errorCode: 'ECONNRESET' }, 'closed'],
    ['a write after an RST', { errorCode: 'EPIPE' }, 'closed'],
    ['the stream alone', { isOpen: true }, 'closed'],
    ['probes without an answer', { errorCode: 'ETIMEDOUT' }, 'dark'],
    ['a neighbour that does not answer', { errorCode: 'EHOSTUNREACH' }, 'dark'],
    ['a FIN before our kernel gave up', { isHungUp: true, errorCode: 'ETIMEDOUT' }, 'dark'],
    ['data that stayed unacknowledged', { isCutAsDark: true }, 'dark'],
    ['a ping without an answer', {}, 'pinged-out'],
  ])('%s', ([, end, cause]) => {
    expect(causeOfLoss({ ...CUT_BY_US, ...end })).toBe(cause);
  });
});
