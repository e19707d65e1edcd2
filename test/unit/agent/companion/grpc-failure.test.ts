import { Metadata, status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';

import { fromServiceError } from '../../../../agent/companion/grpc-failure.io.ts';

describe('a failed call', () => {
  test.for([
    { code: status.UNAVAILABLE, details: 'read ECONNRESET', says: 'ENDPOINT_UNREACHABLE' },
    ...['EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EPIPE', 'ECONNABORTED'].map((errno) => ({
      code: status.INTERNAL,
      details: `Received RST_STREAM with code 2 triggered by internal client error: read ${errno}`,
      says: 'ENDPOINT_UNREACHABLE',
    })),
    {
      code: status.INTERNAL,
      details: 'Received RST_STREAM with code 2 (Internal server error)',
      says: 'ENDPOINT_BUSY',
    },
    { code: status.RESOURCE_EXHAUSTED, details: 'too many', says: 'ENDPOINT_BUSY' },
    { code: status.UNAVAILABLE, details: 'self-signed certificate', says: 'ENDPOINT_UNTRUSTED' },
  ])('with "$details" is $says', ({ code, details, says }) => {
    const error = Object.assign(new Error(details), { code, details, metadata: new Metadata() });
    expect(fromServiceError('attach', error).code).toBe(says);
  });
});
