import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  hasForgotten,
  restartPacingMs,
  type PreviousRun,
} from '../../../../agent/run/restart-pacing.pure.ts';
import { previousRun } from '../../../../agent/run/pace-start.ts';
import type { HostState } from '../../../../agent/state/host-state.pure.ts';
import { hostState } from '../../../support/host-state.ts';

const ENDED_AT_MS = 1_000_000;
const PREVIOUS: PreviousRun = {
  owner: 'cp',
  connected: true,
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
    { name: 'an object that an operator applied', previous: { owner: 'external' }, waitMs: 0 },
    { name: 'a run whose Envoy never came', previous: { connected: false }, waitMs: 0 },
    { name: 'a delay that nothing has said', previous: { deregistrationDelayMs: undefined }, waitMs: 0 },
    { name: 'an end that was not written down', previous: { endedAtUptimeMs: undefined }, waitMs: 0 },
    {
      name: 'an end in the future: another clock than ours',
      previous: { endedAtUptimeMs: ENDED_AT_MS + 1 },
      waitMs: 0,
    },
    { name: 'an unknown version', previous: { version: undefined }, waitMs: 10_300 },
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

describe('previousRun()', () => {
  const state = hostState({
    phase: 'ended',
    deregistered: true,
    endedAtUptimeMs: ENDED_AT_MS,
    deregistrationDelayMs: 10_000,
    controlPlaneVersion: '2.14.3',
    connected: true,
  });

  test.for<{ readonly name: string; readonly change: Partial<HostState>; readonly waitMs: number }>([
    { name: 'a run that served', change: {}, waitMs: 10_300 },
    { name: 'a run whose Envoy never came', change: { connected: false }, waitMs: 0 },
    { name: 'a delay that was never learnt', change: { deregistrationDelayMs: undefined }, waitMs: 0 },
    { name: 'a file of 0.1.0: Envoy may have been there', change: { connected: undefined }, waitMs: 10_300 },
    {
      name: 'a file of 0.1.0 that no control plane has told anything: its delay is a guess',
      change: { connected: undefined, controlPlaneVersion: undefined },
      waitMs: 0,
    },
  ])('$name: waits $waitMs ms', ({ change, waitMs }) => {
    expect(restartPacingMs(previousRun({ ...state, ...change }), ENDED_AT_MS)).toBe(waitMs);
  });
});

describe('hasForgotten()', () => {
  test.for<{
    readonly name: string;
    readonly known: string | undefined;
    readonly seen: readonly (string | undefined)[];
    readonly forgotten: boolean;
  }>([
    { name: 'nothing has answered', known: 'cp-1', seen: [], forgotten: false },
    { name: 'the same instance', known: 'cp-1', seen: ['cp-1'], forgotten: false },
    { name: 'another instance', known: 'cp-1', seen: ['cp-2'], forgotten: true },
    { name: 'two others', known: 'cp-1', seen: ['cp-2', 'cp-3'], forgotten: true },
    { name: 'the same one beside another', known: 'cp-1', seen: ['cp-2', 'cp-1'], forgotten: false },
    { name: 'one that does not name itself', known: 'cp-1', seen: [undefined], forgotten: false },
    { name: 'a run that was told of none', known: undefined, seen: ['cp-2'], forgotten: false },
  ])('$name: $forgotten', ({ known, seen, forgotten }) => {
    expect(hasForgotten(known, seen)).toBe(forgotten);
  });
});
