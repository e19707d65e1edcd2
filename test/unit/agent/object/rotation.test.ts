import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { RotationRecord, RotationResult } from '../../../../agent/object/rotation-record.pure.ts';
import { agentEvents } from '../../../../agent/events.ts';
import { Rotation, type RotationRequest } from '../../../../agent/object/rotation.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../../../kuma/control-plane.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';
import { Endpoints } from '../../../../agent/object/endpoints.ts';
import { ObjectKeeper } from '../../../../agent/object/keeper.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeEnvoyAdmin, statsOf } from '../../../support/fake-envoy-admin.ts';
import { FakeObject } from '../../../support/fake-object.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const SETTLE_MS = 2_250;

function dataplane(port: { readonly port: number; readonly state?: string }): DataplaneResource {
  return { type: 'Dataplane', mesh: 'default', name: 'web-1', networking: { inbound: [port] } };
}

describe('Rotation', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let admin: FakeEnvoyAdmin;
  let object: FakeObject;
  let keeper: ObjectKeeper;
  let owned: boolean;
  let facts: ControlPlaneFacts;
  let settleMs: number;
  let notes: (RotationRecord | undefined)[];
  let stopping: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    admin = new FakeEnvoyAdmin();
    object = new FakeObject(clock, dataplane({ port: 80 }));
    owned = false;
    facts = DEFAULT_FACTS;
    settleMs = SETTLE_MS;
    notes = [];
    stopping = new AbortController();
  });

  afterEach(async () => {
    stopping.abort(new Error('the test is over'));
    keeper.close();
    await clock.pass(1_000);
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function rotation(initial?: RotationRecord): Rotation {
    const shared = { clock, events: agentEvents(log), random: () => 0.5 };
    const key = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
    const endpoints = new Endpoints({ ...shared, endpoints: [object], key, settle: settleMs });
    endpoints.learn(facts);
    keeper = new ObjectKeeper({
      ...shared,
      endpoints,
      departure: { key, own: { incarnation: 'run-1', address: undefined } },
      template: owned ? dataplane({ port: 80 }) : undefined,
      mayDelete: true,
    });
    if (owned) void keeper.claim(1_000, stopping.signal);
    const made = new Rotation({
      clock,
      events: agentEvents(log),
      keeper,
      initial,
      template: { ':80': 'Ready' },
      owned,
      note: (record) => notes.push(record),
      stopping: stopping.signal,
    });
    made.onEnvoySeen(admin);
    keeper.follow(made);
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
    void one.change(request).then((value) => (result = value));
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
    expect(object.state).toBe('NotReady');
    expect(admin.healthchecks[0]).toBe('fail');
    expect(notes[0]).toMatchObject({ wanted: 'out', states: {} });
    expect(notes[1]).toMatchObject({ wanted: 'out', states: { ':80': 'Ready' } });
    expect([one.stage, one.settleLeftMs]).toEqual(['out', 0]);
    stopping.abort(new Error('The end'));
  });

  test('what a late health report undoes is done again, and the peers get their time again', async () => {
    const one = rotation();
    await turn(one, 'out', { wait: false });
    object.stored = dataplane({ port: 80, state: 'Ready' });
    await clock.passUntil(() => object.state === 'NotReady');
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
    object.stored = dataplane({ port: 80, state: 'Ready' });
    const { outcome, tookMs } = await drained;
    expect({ outcome, state: object.state }).toEqual({ outcome: 'done', state: 'NotReady' });
    expect(tookMs).toBeGreaterThanOrEqual(2_500);
    stopping.abort(new Error('The end'));
  });

  test('a resume puts back what it was, tells Envoy, and ends the record once it has held', async () => {
    const one = rotation();
    await turn(one, 'out');
    const { outcome, changed, tookMs } = await turn(one, 'in');
    expect({ outcome, changed, state: object.state }).toEqual({
      outcome: 'done',
      changed: true,
      state: 'Ready',
    });
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
    object.broken = true;
    const result = await turn(one, 'out', { timeoutMs: 3_000 });
    expect(result).toMatchObject({ outcome: 'pending', changed: true });
    expect(result.detail).toContain('not out of rotation yet; the agent keeps trying: Cannot reach it');
    object.broken = false;
    await clock.passUntil(() => object.state === 'NotReady');
    expect(log.lines.filter(({ event }) => event === 'rotation.failed')).toHaveLength(1);
    stopping.abort(new Error('The end'));
  });

  test('a request that never ends keeps a drain from being quiet, not from being out', async () => {
    admin.onStats = () => Promise.resolve(statsOf(1, 1));
    const one = rotation();
    const result = await turn(one, 'out', { timeoutMs: 5_000 });
    expect(result).toMatchObject({ outcome: 'pending' });
    expect(result.detail).toContain('out of rotation, but still in use');
    stopping.abort(new Error('The end'));
  });

  test('a stop ends a wait, and nothing is turned after it', async () => {
    const one = rotation();
    const result = turn(one, 'out');
    await clock.pass(100);
    stopping.abort(new Error('A stop has begun'));
    void keeper.deregister(clock.monotonicMs() + 5_000);
    expect(await result).toMatchObject({ outcome: 'stopping' });
    object.stored = dataplane({ port: 80 });
    await clock.pass(20_000);
    expect(object.state).toBe('Ready');
  });

  test('a resume overrules a drain that still waits', async () => {
    const one = rotation();
    const drained = turn(one, 'out');
    await clock.pass(100);
    const cancel = new AbortController().signal;
    void one.change({ wanted: 'in', wait: false, timeoutMs: 1_000, cancel });
    expect(await drained).toMatchObject({
      outcome: 'refused',
      detail: 'Cancelled: the caller hung up, or a newer drain or resume replaced this one',
    });
    await clock.passUntil(() => one.stage === 'in');
  });

  test('a run that starts drained turns out the object that its control plane creates', async () => {
    object.stored = undefined;
    const one = rotation({ wanted: 'out', since: '2026-01-01T00:00:00Z', states: { ':80': 'Ready' } });
    await clock.pass(1_000);
    object.stored = dataplane({ port: 80 });
    await clock.pass(300);
    expect(object.state).toBe('NotReady');
    await turn(one, 'in');
    expect(object.state).toBe('Ready');
  });

  test('an inbound that was held back before a drain is held back after it', async () => {
    object.stored = dataplane({ port: 80, state: 'NotReady' });
    const one = rotation();
    await turn(one, 'out');
    await turn(one, 'in');
    expect(object.state).toBe('NotReady');
  });

  test('an owned object that is not ready yet becomes ready when Envoy serves, not when it is resumed', async () => {
    owned = true;
    object.stored = dataplane({ port: 80, state: 'NotReady' });
    const one = rotation();
    await turn(one, 'out');
    const early = await turn(one, 'in', { timeoutMs: 2_000 });
    expect(early).toMatchObject({
      outcome: 'pending',
      detail: 'not in rotation yet: Envoy does not serve yet',
    });
    expect(object.state).toBe('NotReady');
    keeper.onServing();
    await clock.passUntil(() => one.stage === 'in');
    expect(object.state).toBe('Ready');
  });

  test.for([
    { writeMs: 400, name: 'that is answered soon' },
    { writeMs: 900, name: 'that is given up before its answer' },
    { writeMs: 8_000, name: 'that is carried out long after' },
  ])('a drain beside a PUT $name: once it is answered, the object is never Ready', async ({ writeMs }) => {
    owned = true;
    object.stored = undefined;
    const one = rotation();
    await clock.pass(100);
    object.writeMs = writeMs;
    keeper.onServing();
    await clock.pass(18);
    object.writeMs = 100;
    const { outcome } = await turn(one, 'out', { wait: false });
    expect({ outcome, state: object.state }).toEqual({ outcome: 'done', state: 'NotReady' });
    const before = object.history.length;
    await clock.pass(30_000);
    expect(object.history.slice(before)).toEqual([]);
    expect(object.state).toBe('NotReady');
  });

  test('a PUT whose answer does not come leaves a drain pending, and says why', async () => {
    owned = true;
    const one = rotation();
    await clock.pass(100);
    object.mute = true;
    object.writeMs = 90_000;
    keeper.onServing();
    await clock.pass(18);
    object.mute = false;
    object.writeMs = 0;
    const result = await turn(one, 'out', { timeoutMs: 5_000, wait: false });
    expect(result).toMatchObject({
      outcome: 'pending',
      detail: 'not out of rotation yet: a write without an answer may still change the object',
    });
    keeper.close();
    await clock.pass(90_000);
  });

  test('an Envoy that cannot be asked leaves open whether it is quiet', async () => {
    const one = rotation();
    one.onEnvoySeen(undefined);
    expect((await turn(one, 'out')).detail).toContain('cannot tell whether requests remain');
    stopping.abort(new Error('The end'));
  });
});
