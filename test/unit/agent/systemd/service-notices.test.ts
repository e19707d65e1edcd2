import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Phase } from '../../../../agent/stop/phases.pure.ts';
import { extensionMs, messageOf } from '../../../../agent/systemd/service-status.pure.ts';
import { divideBudget } from '../../../../agent/stop/stop-budget.pure.ts';
import { ServiceNotices } from '../../../../agent/systemd/service-notices.ts';
import type { ServiceFields } from '../../../../kernel/service-fields.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const RUNNING: Phase = { name: 'running', registered: false, envoy: true, standby: 'no' };
const deadlines = divideBudget(0, 60_000);
const DRAINING: Phase = { name: 'draining', progress: 'answered', deadlines, asked: 1 };

describe('messageOf()', () => {
  test('a dataplane that an operator drained says so, since when and what ends it; a stop says that it stops', () => {
    const drained = {
      label: 'default/web-1',
      serving: true,
      drainedSince: '2026-11-30T10:00:00.000Z',
      nowMs: 0,
    };
    expect(messageOf({ ...drained, phase: RUNNING })).toEqual({
      ready: true,
      status:
        'default/web-1: drained since 2026-11-30T10:00:00.000Z: peers do not send to it until "kuma-dp-agent resume"',
    });
    expect(messageOf({ ...drained, phase: DRAINING }).status).toContain('stopping');
    expect(messageOf({ ...drained, serving: false, phase: RUNNING }).status).toContain('does not serve yet');
  });

  test.for<{ phase: Phase; serving: boolean; says: ServiceFields }>([
    {
      phase: { name: 'starting', registered: false },
      serving: false,
      says: { status: 'default/web-1: waiting before starting kuma-dp' },
    },
    {
      phase: RUNNING,
      serving: false,
      says: { status: 'default/web-1: kuma-dp runs, Envoy does not serve yet' },
    },
    { phase: RUNNING, serving: true, says: { ready: true, status: 'default/web-1: serving' } },
    {
      phase: DRAINING,
      serving: true,
      says: {
        stopping: true,
        status: 'default/web-1: stopping: waiting for the last requests',
        extendMs: 15_000,
      },
    },
    {
      phase: { name: 'stopped', exit: { code: 0, signal: null } },
      serving: true,
      says: { stopping: true, status: 'default/web-1: stopped' },
    },
  ])('$phase.name, serving $serving', ({ phase, serving, says }) => {
    expect(messageOf({ phase, label: 'default/web-1', serving, nowMs: 1_000 })).toEqual(says);
  });

  test('asks for no more time once the budget is spent', () => {
    const message = messageOf({ phase: DRAINING, label: undefined, serving: true, nowMs: 60_000 });
    expect(message).toEqual({ stopping: true, status: 'stopping: waiting for the last requests' });
  });
});

describe('extensionMs()', () => {
  test.for([
    [0, 15_000],
    [45_000, 15_000],
    [45_001, 14_999],
    [59_999, 1],
    [60_000, 0],
    [61_000, 0],
  ] as const)('at %i ms it is %i ms', ([nowMs, extendMs]) => {
    expect(extensionMs(60_000, nowMs)).toBe(extendMs);
  });
});

describe('ServiceNotices', () => {
  let clock: FakeClock;
  let told: { readonly atMs: number; readonly fields: ServiceFields }[];
  let notices: ServiceNotices;

  beforeEach(() => {
    clock = new FakeClock();
    told = [];
    const tell = (fields: ServiceFields): number => told.push({ atMs: clock.monotonicMs(), fields });
    notices = new ServiceNotices({ clock, manager: { tell, close: () => {} } });
  });

  afterEach(() => {
    notices.close();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  test('is ready once Envoy serves, not before, and not during a stop', () => {
    notices.onPhase(RUNNING);
    notices.onDerived('default/web-1');
    expect(told.some(({ fields }) => fields.ready)).toBe(false);
    notices.onServing();
    expect(told.at(-1)?.fields).toEqual({ ready: true, status: 'default/web-1: serving' });
    notices.onPhase(DRAINING);
    const before = told.length;
    notices.onServing();
    expect(told).toHaveLength(before);
  });

  test('renews its request for time while the budget lasts, and never beyond it', () => {
    notices.onPhase(RUNNING);
    notices.onPhase(DRAINING);
    clock.advance(120_000);
    const asked = told.flatMap(({ atMs, fields }) =>
      fields.extendMs === undefined ? [] : [{ atMs, untilMs: atMs + fields.extendMs }],
    );
    expect(asked.map(({ atMs }) => atMs)).toEqual(
      [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55].map((s) => s * 1_000),
    );
    expect(Math.max(...asked.map(({ untilMs }) => untilMs))).toBe(60_000);
  });

  test('asks for nothing any more once it is over', () => {
    notices.onPhase(DRAINING);
    notices.onPhase({ name: 'stopped', exit: { code: 0, signal: null } });
    expect(clock.armed).toBe(0);
  });
});
