import { beforeEach, describe, expect, test } from 'vitest';

import { agentEvents } from '../../../../agent/events.ts';
import { paceStart } from '../../../../agent/run/pace-start.ts';
import type { HostState } from '../../../../agent/state/host-state.pure.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../../../kuma/control-plane.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import {
  answers,
  answersLate,
  FakeEndpoint,
  fails,
  hangs,
  type Reply,
} from '../../../support/fake-endpoint.ts';
import { FakeLog } from '../../../support/fake-log.ts';
import { hostState } from '../../../support/host-state.ts';

const PREVIOUS = hostState({
  phase: 'ended',
  deregistered: true,
  endedAtUptimeMs: 50_000,
  deregistrationDelayMs: 10_000,
  controlPlaneVersion: '2.14.3',
  controlPlaneInstance: 'cp-1',
  connected: true,
});

const unreachable = fails('ENDPOINT_UNREACHABLE');
const instance = (instanceId: string | undefined): ControlPlaneFacts => ({ ...DEFAULT_FACTS, instanceId });

describe('paceStart()', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let stop: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    stop = new AbortController();
  });

  /** @returns how long the start waited */
  async function pacedMs(
    checks: readonly (Reply<ControlPlaneFacts> | readonly Reply<ControlPlaneFacts>[])[],
    previous: HostState = PREVIOUS,
  ): Promise<number> {
    let doneMs: number | undefined;
    const paced = paceStart(previous, previous.dataplane, {
      clock,
      events: agentEvents(log),
      random: () => 0.5,
      endpoints: checks.map((check, at) => new FakeEndpoint(clock, `https://cp-${at}:5682`, { check })),
      uptimeMs: () => 50_000,
      stopping: stop.signal,
    }).then(() => {
      doneMs = clock.monotonicMs();
    });
    await clock.pass(11_000);
    await paced;
    expect(clock.armed, 'timers left armed').toBe(0);
    return doneMs ?? Number.NaN;
  }

  test.for<{
    readonly name: string;
    readonly checks: Parameters<typeof pacedMs>[0];
    readonly waitedMs: number;
  }>([
    { name: 'the control plane is the same', checks: [answers(instance('cp-1'))], waitedMs: 10_300 },
    { name: 'nothing answers', checks: [unreachable, hangs], waitedMs: 10_300 },
    { name: 'there is no endpoint', checks: [], waitedMs: 10_300 },
    { name: 'the control plane is another one', checks: [answers(instance('cp-2'))], waitedMs: 0 },
    {
      name: 'another one comes up while the start waits',
      checks: [[unreachable, unreachable, answers(instance('cp-2'))]],
      waitedMs: 1_000,
    },
    {
      name: 'another one answers, and the same one after it',
      checks: [answers(instance('cp-2')), [unreachable, answers(instance('cp-1'))]],
      waitedMs: 0,
    },
    {
      name: 'the same one answers later than another in one look',
      checks: [answers(instance('cp-2')), (signal) => answersLate(clock, 400, instance('cp-1'))(signal)],
      waitedMs: 10_300,
    },
    { name: 'the control plane has no name', checks: [answers(instance(undefined))], waitedMs: 10_300 },
  ])('$name: waits $waitedMs ms', async ({ checks, waitedMs }) => {
    expect(await pacedMs(checks)).toBe(waitedMs);
    expect(log.events).toEqual(['start.paced', ...(waitedMs < 10_300 ? ['start.unpaced'] : [])]);
  });

  test('a run that was told of no instance waits for the whole delay', async () => {
    expect(await pacedMs([answers(instance('cp-2'))], { ...PREVIOUS, controlPlaneInstance: undefined })).toBe(
      10_300,
    );
  });

  test('a run whose Envoy never came waits for nothing and asks nothing', async () => {
    expect(await pacedMs([hangs], { ...PREVIOUS, connected: false })).toBe(0);
    expect(log.events).toEqual([]);
  });

  test('a stop ends the wait', async () => {
    clock.after(2_000, () => {
      stop.abort(new Error('A stop has begun'));
    });
    expect(await pacedMs([unreachable])).toBe(2_000);
    expect(log.events).toEqual(['start.paced']);
  });
});
