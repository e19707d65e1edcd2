import { expect, test } from 'vitest';

import { deregistrarEvents } from '../../../control-plane/events.ts';
import { keepRunning } from '../../../control-plane/periodically.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeLog } from '../../support/fake-log.ts';

const FAILURES = [
  new OperationalError('STORE_BUSY', 'Cannot lock a dataplane: another caller has it'),
  new TypeError('undefined is not a function'),
];

test('a part that fails begins again after a second, and only a bug is logged', async () => {
  const clock = new FakeClock();
  const log = new FakeLog();
  const over = new AbortController();
  const beganMs: number[] = [];
  const running = keepRunning(
    { clock, events: deregistrarEvents(log) },
    {
      run: (signal) => {
        const failure = FAILURES[beganMs.length];
        beganMs.push(clock.monotonicMs());
        if (failure !== undefined) return Promise.reject(failure);
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            resolve();
          });
        });
      },
    },
    over.signal,
  );
  await clock.pass(10_000);
  expect(beganMs).toEqual([0, 1_000, 2_000]);
  expect(log.events).toEqual(['deregistrar.failed']);
  over.abort();
  await running;
});
