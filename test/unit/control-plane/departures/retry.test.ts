import { describe, expect, test } from 'vitest';

import { retryDelayMs } from '../../../../control-plane/departures/retry.pure.ts';
import { OperationalError } from '../../../../kernel/errors.ts';

const busy = (details: Readonly<Record<string, string | number>>): OperationalError =>
  new OperationalError('ENDPOINT_BUSY', 'Cannot delete it: status 503', { details });

describe('retryDelayMs()', () => {
  test.for([
    { attempts: -1, ceilingMs: 200 },
    { attempts: 0, ceilingMs: 200 },
    { attempts: 1, ceilingMs: 400 },
    { attempts: 7, ceilingMs: 25_600 },
    { attempts: 8, ceilingMs: 30_000 },
    { attempts: 5_000, ceilingMs: 30_000 },
  ])('after $attempts attempts it is anywhere up to $ceilingMs ms', ({ attempts, ceilingMs }) => {
    expect([0, 0.5, 1].map((random) => retryDelayMs(attempts, () => random))).toEqual([
      0,
      ceilingMs / 2,
      ceilingMs,
    ]);
  });

  test.for([
    { name: 'nothing asked', error: busy({}), delayMs: 100 },
    { name: 'what the server asked is not undercut', error: busy({ retryAfterMs: 7_000 }), delayMs: 7_100 },
    { name: 'a day is too long', error: busy({ retryAfterMs: 86_400_000 }), delayMs: 300_100 },
    { name: 'nothing to wait', error: busy({ retryAfterMs: 0 }), delayMs: 100 },
    { name: 'not a number', error: busy({ retryAfterMs: 'soon' }), delayMs: 100 },
    { name: 'not even that', error: busy({ retryAfterMs: Number.NaN }), delayMs: 100 },
  ])('$name: $delayMs ms', ({ error, delayMs }) => {
    expect(retryDelayMs(0, () => 0.5, error)).toBe(delayMs);
  });
});
