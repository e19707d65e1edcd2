import { beforeEach, describe, expect, test } from 'vitest';

import type { RotationRecord, RotationResult } from '../../../../agent/object/rotation-record.pure.ts';
import { agentEvents } from '../../../../agent/events.ts';
import { Rotation, type RotationRequest } from '../../../../agent/object/rotation.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../../../kuma/control-plane.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';
import { NO_OBJECT, turned, type RotationAnswer, type RotationOrder } from '../../../../kuma/rotation.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeEnvoyAdmin, statsOf } from '../../../support/fake-envoy-admin.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const SETTLE_MS = 2_250;

describe('Rotation', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let admin: FakeEnvoyAdmin;
  let stored: DataplaneResource | undefined;
  let broken: boolean;
  let owned: boolean;
  let facts: ControlPlaneFacts;
  let settleMs: number;
  let notes: (RotationRecord | undefined)[];
  let stopping: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    admin = new FakeEnvoyAdmin();
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80 }] } };
    broken = false;
    owned = false;
    facts = DEFAULT_FACTS;
    settleMs = SETTLE_MS;
    notes = [];
    stopping = new AbortController();
  });

  function state(): string {
    return stored?.networking?.inbound?.[0]?.state ?? 'Ready';
  }

  function rotate(order: RotationOrder): Promise<RotationAnswer> {
    if (broken) return Promise.reject(new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot reach it'));
    if (stored === undefined) return Promise.resolve(NO_OBJECT);
    const { resource, ...answer } = turned(stored, order);
    stored = resource;
    return Promise.resolve(answer);
  }

  function rotation(initial?: RotationRecord): Rotation {
    const made = new Rotation({
      clock,
      events: agentEvents(log),
      registration: { rotate, facts, settleMs },
      initial,
      template: { ':80': 'Ready' },
      owned,
      note: (record) => notes.push(record),
      stopping: stopping.signal,
    });
    made.start();
    made.onEnvoySeen(admin);
    return made;
  }

  async function turn(
    one: Rotation,
    wanted: 'out' | 'in',
    how: Partial<RotationRequest> = {},
  ): Promise<RotationResult & { readonly tookMs: number }> {
    const startMs = clock.monotonicMs();
    let result: RotationResult | undefined;
    const request = { wanted, wait: true, timeoutMs: 60_000, cancel: new AbortController().signal, ...how };
    void one.turn(request).then((value) => (result = value));
    await clock.passUntil(() => result !== undefined);
    if (result === undefined) throw new Error('There was no result');
    return { ...result, tookMs: clock.monotonicMs() - startMs };
  }

  test('a drain is written down first, tells Envoy and the object, and waits for peers and the last request', async () => {
    const one = rotation();
    const { tookMs, ...result } = await turn(one, 'out');
    expect(result).toEqual({
      outcome: 'done',
      changed: true,
      detail: 'out of rotation; its last request is done',
    });
    expect(tookMs).toBeGreaterThanOrEqual(SETTLE_MS + 500);
    expect(state()).toBe('NotReady');
    expect(admin.healthchecks[0]).toBe('fail');
    expect(notes[0]).toMatchObject({ wanted: 'out', states: {} });
    expect(notes[1]).toMatchObject({ wanted: 'out', states: { ':80': 'Ready' } });
    expect([one.stage, one.settleLeftMs, one.wentOut.aborted]).toEqual(['out', 0, true]);
    stopping.abort(new Error('The end'));
  });

  test('what a late health report undoes is done again, and the peers get their time again', async () => {
    const one = rotation();
    await turn(one, 'out', { wait: false });
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80, state: 'Ready' }] } };
    await clock.passUntil(() => state() === 'NotReady');
    await clock.pass(1);
    expect(one.settleLeftMs).toBeGreaterThan(SETTLE_MS - 100);
    stopping.abort(new Error('The end'));
  });

  test('with health feedback, a drain counts only when the object was seen to hold after a stale report', async () => {
    facts = { ...DEFAULT_FACTS, hdsDelayMs: 6_000 };
    settleMs = 100;
    const one = rotation();
    const drained = turn(one, 'out');
    await clock.pass(900);
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80, state: 'Ready' }] } };
    const { outcome, tookMs } = await drained;
    expect({ outcome, state: state() }).toEqual({ outcome: 'done', state: 'NotReady' });
    expect(tookMs).toBeGreaterThanOrEqual(2_500);
    stopping.abort(new Error('The end'));
  });

  test('a resume puts back what it was, tells Envoy, and ends the record once it has held', async () => {
    const one = rotation();
    await turn(one, 'out');
    const { outcome, changed, tookMs } = await turn(one, 'in');
    expect({ outcome, changed, state: state() }).toEqual({ outcome: 'done', changed: true, state: 'Ready' });
    expect(tookMs).toBeGreaterThanOrEqual(SETTLE_MS);
    expect(admin.healthchecks.at(-1)).toBe('ok');
    expect(notes.at(-1)).toBeUndefined();
    expect([one.stage, one.settleLeftMs]).toEqual(['in', SETTLE_MS]);
  });

  test('the same again changes nothing', async () => {
    const one = rotation();
    expect(await turn(one, 'in')).toMatchObject({ outcome: 'done', changed: false, tookMs: 0 });
    await turn(one, 'out');
    const count = notes.length;
    expect(await turn(one, 'out')).toMatchObject({ outcome: 'done', changed: false });
    expect(notes).toHaveLength(count);
    stopping.abort(new Error('The end'));
  });

  test('without a control plane it says so in time and goes on trying', async () => {
    const one = rotation();
    broken = true;
    const result = await turn(one, 'out', { timeoutMs: 3_000 });
    expect(result).toMatchObject({ outcome: 'pending', changed: true });
    expect(result.detail).toContain('not out of rotation yet, the agent goes on trying: Cannot reach it');
    broken = false;
    await clock.passUntil(() => state() === 'NotReady');
    expect(log.lines.filter(({ event }) => event === 'rotation.failed')).toHaveLength(1);
    stopping.abort(new Error('The end'));
  });

  test('a request that never ends keeps a drain from being quiet, not from being out', async () => {
    admin.onStats = () => Promise.resolve(statsOf(1, 1));
    const one = rotation();
    const result = await turn(one, 'out', { timeoutMs: 5_000 });
    expect(result).toMatchObject({ outcome: 'pending' });
    expect(result.detail).toContain('out of rotation, but not quiet');
    stopping.abort(new Error('The end'));
  });

  test('a stop ends a wait, and nothing is turned after it', async () => {
    const one = rotation();
    const result = turn(one, 'out');
    await clock.pass(100);
    stopping.abort(new Error('A stop has begun'));
    expect(await result).toMatchObject({ outcome: 'stopping' });
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80 }] } };
    await clock.pass(20_000);
    expect(state()).toBe('Ready');
  });

  test('a resume overrules a drain that still waits', async () => {
    const one = rotation();
    const drained = turn(one, 'out');
    await clock.pass(100);
    const cancel = new AbortController().signal;
    void one.turn({ wanted: 'in', wait: false, timeoutMs: 1_000, cancel });
    expect(await drained).toMatchObject({ outcome: 'refused', detail: 'given up: asked otherwise' });
    await clock.passUntil(() => one.stage === 'in');
  });

  test('a run that starts drained turns out the object that its control plane creates', async () => {
    stored = undefined;
    const one = rotation({ wanted: 'out', since: '2026-01-01T00:00:00Z', states: { ':80': 'Ready' } });
    expect(one.wentOut.aborted).toBe(true);
    await clock.pass(1_000);
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80 }] } };
    await clock.pass(300);
    expect(state()).toBe('NotReady');
    await turn(one, 'in');
    expect(state()).toBe('Ready');
  });

  test('an inbound that was held back before a drain is held back after it', async () => {
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80, state: 'NotReady' }] } };
    const one = rotation();
    await turn(one, 'out');
    await turn(one, 'in');
    expect(state()).toBe('NotReady');
  });

  test('an owned object that was not announced yet becomes ready when Envoy serves, not when it is resumed', async () => {
    owned = true;
    stored = { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 80, state: 'NotReady' }] } };
    const one = rotation();
    await turn(one, 'out');
    const early = await turn(one, 'in', { timeoutMs: 2_000 });
    expect(early).toMatchObject({
      outcome: 'pending',
      detail: 'not in rotation yet: Envoy does not serve yet',
    });
    expect(state()).toBe('NotReady');
    one.onServing();
    await clock.passUntil(() => one.stage === 'in');
    expect(state()).toBe('Ready');
  });

  test('an Envoy that cannot be asked leaves open whether it is quiet', async () => {
    const one = rotation();
    one.onEnvoySeen(undefined);
    expect((await turn(one, 'out')).detail).toContain('cannot be told');
    stopping.abort(new Error('The end'));
  });
});
