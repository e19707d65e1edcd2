import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { restartPacingMs, type PreviousRun } from '../../../../agent/run/restart-pacing.pure.ts';

const ENDED_AT_MS = 1_000_000;
const PREVIOUS: PreviousRun = {
  owner: 'cp',
  endedAtUptimeMs: ENDED_AT_MS,
  deregistrationDelayMs: 10_000,
  version: '2.14.3',
};

describe('restartPacingMs()', () => {
  test.for([
    { sinceMs: 0, waitMs: 10_300 },
    { sinceMs: 1_000, waitMs: 9_300 },
    { sinceMs: 10_000, waitMs: 300 },
    { sinceMs: 10_299, waitMs: 1 },
    { sinceMs: 10_300, waitMs: 0 },
    { sinceMs: 3_600_000, waitMs: 0 },
  ])('ended $sinceMs ms ago: waits $waitMs ms', ({ sinceMs, waitMs }) => {
    expect(restartPacingMs(PREVIOUS, ENDED_AT_MS + sinceMs)).toBe(waitMs);
  });

  test.for<{ readonly name: string; readonly previous: Partial<PreviousRun>; readonly waitMs: number }>([
    { name: 'a delay of the control plane’s own', previous: { deregistrationDelayMs: 2_000 }, waitMs: 2_300 },
    { name: 'a control plane without the delay', previous: { deregistrationDelayMs: 0 }, waitMs: 0 },
    { name: 'an object that the agent owned', previous: { owner: 'agent' }, waitMs: 0 },
    { name: 'an object that somebody else applied', previous: { owner: 'external' }, waitMs: 0 },
    { name: 'an end that nobody wrote down', previous: { endedAtUptimeMs: undefined }, waitMs: 0 },
    {
      name: 'an end in the future: another clock than ours',
      previous: { endedAtUptimeMs: ENDED_AT_MS + 1 },
      waitMs: 0,
    },
    { name: 'a version that nobody knows', previous: { version: undefined }, waitMs: 10_300 },
    { name: 'a version that accepts the name at once', previous: { version: '2.7.11' }, waitMs: 0 },
    {
      name: 'the first version of its line that refuses it',
      previous: { version: '2.7.12' },
      waitMs: 10_300,
    },
  ])('$name: waits $waitMs ms', ({ previous, waitMs }) => {
    expect(restartPacingMs({ ...PREVIOUS, ...previous }, ENDED_AT_MS)).toBe(waitMs);
  });

  test('never waits longer than the delay and its margin, nor less than nothing', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e9, max: 1e9 }),
        fc.integer({ min: 0, max: 60_000 }),
        (sinceMs, delayMs) => {
          const waitMs = restartPacingMs(
            { ...PREVIOUS, deregistrationDelayMs: delayMs },
            ENDED_AT_MS + sinceMs,
          );
          expect(waitMs).toBeGreaterThanOrEqual(0);
          expect(waitMs).toBeLessThanOrEqual(delayMs + 300);
        },
      ),
    );
  });
});
