import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { agentEvents } from '../../../../agent/events.ts';
import { Registration, type RegistrationDeps } from '../../../../agent/object/registration.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { answers, answersLate, FakeEndpoint, fails, hangs } from '../../../support/fake-endpoint.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const TEMPLATE = { type: 'Dataplane', mesh: 'default', name: 'web-1' };

describe('Registration', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let stopped: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    stopped = new AbortController();
  });

  afterEach(async () => {
    stopped.abort(new Error('the test is over'));
    await clock.settle();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function endpoint(replies: ConstructorParameters<typeof FakeEndpoint>[2] = {}, url = 'a'): FakeEndpoint {
    return new FakeEndpoint(clock, url, replies);
  }

  function registration(
    endpoints: readonly FakeEndpoint[],
    deps: Partial<RegistrationDeps> = {},
  ): Registration {
    return new Registration({
      clock,
      events: agentEvents(log),
      random: () => 0.5,
      endpoints,
      departure: {
        key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
        own: { incarnation: 'run-1', address: '10.0.0.1' },
      },
      mayDelete: true,
      settle: 'auto',
      ...deps,
    });
  }

  /** The result, and when it was there. */
  async function timed<T>(work: Promise<T>): Promise<{ readonly result: T; readonly atMs: number }> {
    let done: { readonly result: T; readonly atMs: number } | undefined;
    void work.then((result) => {
      done = { result, atMs: clock.monotonicMs() };
    });
    await clock.passUntil(() => done !== undefined);
    if (done === undefined) throw new TypeError('it has not ended');
    return done;
  }

  describe('deregister()', () => {
    test.for(['deleted', 'already gone'] as const)('"%s" is success', async (answer) => {
      const work = registration([endpoint({ deregister: answers(answer) })]).deregister(5_000);
      expect(await timed(work)).toEqual({
        result: { outcome: 'gone', reason: answer, endpoint: 'a', attempts: 1 },
        atMs: 0,
      });
    });

    test('asked again while it is under way it is the same attempt', async () => {
      const only = endpoint({ deregister: answersLate(clock, 300, 'deleted' as const) });
      const object = registration([only]);
      const both = Promise.all([object.deregister(5_000), object.deregister(9_000)]);
      const { result } = await timed(both);
      expect(result[0]).toEqual(result[1]);
      expect(only.times('deregister')).toEqual([0]);
    });

    test('reads the object back where the answer got lost, and takes its absence for success', async () => {
      const only = endpoint({ deregister: [fails('ENDPOINT_UNREACHABLE'), answers('already gone')] });
      const { result } = await timed(registration([only]).deregister(5_000));
      expect(result).toEqual({ outcome: 'gone', reason: 'already gone', endpoint: 'a', attempts: 2 });
    });

    test('leaves an external dataplane alone and asks nobody', async () => {
      const only = endpoint();
      const { result } = await timed(registration([only], { mayDelete: false }).deregister(5_000));
      expect(result).toEqual({
        outcome: 'kept',
        reason: 'external dataplane: not ours to delete',
        endpoint: undefined,
        attempts: 0,
      });
      expect(only.calls).toEqual([]);
    });

    test("keeps somebody else's object", async () => {
      const only = endpoint({ deregister: fails('DATAPLANE_FOREIGN') });
      const { result } = await timed(registration([only]).deregister(5_000));
      expect(result).toEqual({
        outcome: 'kept',
        reason: 'Cannot: DATAPLANE_FOREIGN',
        endpoint: undefined,
        attempts: 1,
      });
    });

    const handedOver = fails('ENDPOINT_BUSY', { handedOver: true, endpoint: 'grpcs://a:1' });

    test('a companion that is still at it is asked again until the object is gone', async () => {
      const only = endpoint({ deregister: [handedOver, handedOver, answers('deleted' as const)] });
      const { result } = await timed(registration([only]).deregister(5_000));
      expect(result).toEqual({ outcome: 'gone', reason: 'deleted', endpoint: 'a', attempts: 3 });
    });

    test('what a companion has taken over and not done in time is handed over, not failed', async () => {
      const late = endpoint({ deregister: handedOver });
      const down = endpoint({ deregister: fails('ENDPOINT_REJECTED') }, 'b');
      const { result, atMs } = await timed(registration([late, down]).deregister(2_000));
      expect(atMs).toBeLessThanOrEqual(2_000);
      expect(result).toMatchObject({
        outcome: 'handed over',
        reason: 'Cannot: ENDPOINT_BUSY',
        endpoint: 'grpcs://a:1',
      });
    });

    test('what would not survive a crash of the companion is not handed over', async () => {
      const late = endpoint({ deregister: fails('ENDPOINT_BUSY', { handedOver: false }) });
      const { result } = await timed(registration([late]).deregister(2_000));
      expect(result).toMatchObject({ outcome: 'failed' });
    });

    test("the object being somebody else's says more than that a companion has taken it over", async () => {
      const late = endpoint({ deregister: [handedOver, fails('DATAPLANE_FOREIGN')] });
      const { result } = await timed(registration([late]).deregister(2_000));
      expect(result).toMatchObject({ outcome: 'kept' });
    });

    test('says to each attempt what it may take', async () => {
      const budgets: number[] = [];
      const only = endpoint({ deregister: [fails('ENDPOINT_BUSY'), answers('deleted' as const)] });
      const asked = Object.assign(only, {
        deregister: (_departure: unknown, _signal: AbortSignal, budgetMs: number) => {
          budgets.push(budgetMs);
          return Promise.reject(new OperationalError('ENDPOINT_BUSY', 'Cannot'));
        },
      });
      await timed(registration([asked]).deregister(8_000));
      expect(budgets.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 4_000]);
      expect(budgets.at(-1)).toBeLessThan(4_000);
    });

    test('gives up when there is no time for another attempt, and says what failed last', async () => {
      const only = endpoint({ deregister: fails('ENDPOINT_BUSY', { retryAfterMs: 2_000 }) });
      const { result, atMs } = await timed(registration([only]).deregister(5_000));
      expect(atMs).toBe(4_000);
      expect(result).toEqual({
        outcome: 'failed',
        reason: 'Cannot: ENDPOINT_BUSY',
        endpoint: undefined,
        attempts: 3,
      });
    });

    test('holds its deadline even if the endpoint hangs', async () => {
      const { result, atMs } = await timed(registration([endpoint({ deregister: hangs })]).deregister(5_000));
      expect({ outcome: result.outcome, atMs }).toEqual({ outcome: 'failed', atMs: 5_000 });
    });

    test('makes an attempt even if its deadline has passed', async () => {
      await clock.pass(6_000);
      const only = endpoint();
      const { result } = await timed(registration([only]).deregister(5_000));
      expect(only.times('deregister')).toEqual([6_000]);
      expect(result.outcome).toBe('gone');
    });

    test('does not throw a bug at the stop: it failed, and says so', async () => {
      const only = endpoint({ deregister: () => Promise.reject(new TypeError('a bug')) });
      const { result } = await timed(registration([only]).deregister(5_000));
      expect(result).toMatchObject({ outcome: 'failed', reason: 'a bug' });
    });
  });

  describe('hasten()', () => {
    test('gives the attempt under way one more second', async () => {
      const object = registration([endpoint({ deregister: hangs })]);
      const work = object.deregister(5_000);
      await clock.pass(700);
      object.hasten();
      const { result, atMs } = await timed(work);
      expect(atMs).toBe(1_700);
      expect(result).toMatchObject({
        outcome: 'failed',
        reason:
          'Gave up to deregister default/web-1: asked twice to stop; last: Cannot deregister dataplane default/web-1 at a within 1000 ms',
      });
    });

    test('lets an answer within that second count', async () => {
      const object = registration([endpoint({ deregister: answersLate(clock, 900, 'deleted' as const) })]);
      const work = object.deregister(5_000);
      object.hasten();
      expect(await timed(work)).toMatchObject({ result: { outcome: 'gone' }, atMs: 900 });
    });

    test('never makes the deadline later', async () => {
      const object = registration([endpoint({ deregister: hangs })]);
      const work = object.deregister(500);
      object.hasten();
      expect(await timed(work)).toMatchObject({ result: { outcome: 'failed' }, atMs: 500 });
    });
  });

  test('a deregistration that failed is tried again when it is asked for again', async () => {
    const only = endpoint({ deregister: [fails('ENDPOINT_REJECTED'), answers('deleted' as const)] });
    const object = registration([only]);
    expect((await timed(object.deregister(5_000))).result).toMatchObject({ outcome: 'failed' });
    expect((await timed(object.deregister(5_000))).result).toMatchObject({ outcome: 'gone' });
  });

  describe('confirm()', () => {
    test.for([
      { verdict: 'gone', outcome: { outcome: 'gone' } },
      { verdict: 'deleted', outcome: { outcome: 'deleted again' } },
    ] as const)('"$verdict" ends it at once', async ({ verdict, outcome }) => {
      const only = endpoint({ confirm: answers({ verdict }) });
      expect(await timed(registration([only]).confirm(2_000))).toEqual({ result: outcome, atMs: 0 });
    });

    test('looks again every 300 ms while it cannot be told yet', async () => {
      const wait = answers({ verdict: 'wait', reason: 'a subscription is online' } as const);
      const only = endpoint({ confirm: [wait, wait, answers({ verdict: 'deleted' })] });
      expect(await timed(registration([only]).confirm(2_000))).toEqual({
        result: { outcome: 'deleted again' },
        atMs: 600,
      });
      expect(only.times('confirm')).toEqual([0, 300, 600]);
    });

    test('waits until the end, then leaves it, and says why', async () => {
      const only = endpoint({ confirm: answers({ verdict: 'wait', reason: 'a subscription is online' }) });
      expect(await timed(registration([only]).confirm(2_000))).toEqual({
        result: { outcome: 'left', reason: 'a subscription is online' },
        atMs: 2_000,
      });
    });

    test("leaves somebody else's at once", async () => {
      const only = endpoint({ confirm: answers({ verdict: 'leave', reason: 'another incarnation' }) });
      expect(await timed(registration([only]).confirm(2_000))).toEqual({
        result: { outcome: 'left', reason: 'another incarnation' },
        atMs: 0,
      });
    });

    test('is not certain where nobody answers in time', async () => {
      const only = endpoint({ confirm: hangs });
      const { result, atMs } = await timed(registration([only]).confirm(2_000));
      expect(atMs).toBe(2_000);
      expect(result).toEqual({
        outcome: 'unknown',
        reason: 'Cannot confirm that dataplane default/web-1 is gone within 2000 ms',
      });
    });

    test('is not certain where there was no time to look', async () => {
      await clock.pass(2_000);
      const only = endpoint();
      expect((await timed(registration([only]).confirm(2_000))).result).toEqual({
        outcome: 'unknown',
        reason: 'there was no time to look',
      });
      expect(only.calls).toEqual([]);
    });

    test('does not look at all where the object is not ours to delete', async () => {
      const only = endpoint();
      expect((await timed(registration([only], { mayDelete: false }).confirm(2_000))).result).toEqual({
        outcome: 'left',
        reason: 'it is not ours to delete',
      });
      expect(only.calls).toEqual([]);
    });
  });

  describe('announce()', () => {
    test('puts the template within its budget', async () => {
      const only = endpoint();
      await timed(registration([only]).announce(TEMPLATE, 900, stopped.signal));
      expect(only.announced).toEqual([TEMPLATE]);
    });

    test('fails when its budget is spent', async () => {
      const object = registration([endpoint({ announce: hangs })]);
      const work = object.announce(TEMPLATE, 900, stopped.signal).catch((error: unknown) => error);
      const { result, atMs } = await timed(work);
      expect(atMs).toBe(900);
      expect(result).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    });

    test('ends at once when a stop comes first', async () => {
      const reason = new OperationalError('CANCELLED', 'A stop has begun');
      const object = registration([endpoint({ announce: hangs })]);
      const work = object.announce(TEMPLATE, 900, stopped.signal).catch((error: unknown) => error);
      await clock.pass(100);
      stopped.abort(reason);
      expect(await timed(work)).toEqual({ result: reason, atMs: 100 });
    });
  });

  describe('announceReady()', () => {
    test('is done with the first success', async () => {
      const only = endpoint();
      await timed(registration([only]).announceReady(TEMPLATE, stopped.signal));
      expect(only.times('announceReady')).toEqual([0]);
      expect(log.lines).toEqual([]);
    });

    test('tries again after a pause until it succeeds, and says once that it did not', async () => {
      const only = endpoint({
        announceReady: [fails('ENDPOINT_REJECTED'), fails('ENDPOINT_REJECTED'), () => Promise.resolve()],
      });
      await timed(registration([only]).announceReady(TEMPLATE, stopped.signal));
      expect(only.times('announceReady')).toEqual([0, 1_000, 2_000]);
      expect(log.events).toEqual(['announcement.failed']);
    });

    test('gives an attempt under way half a second when a stop begins', async () => {
      const work = registration([endpoint({ announceReady: hangs })]).announceReady(TEMPLATE, stopped.signal);
      await clock.pass(100);
      stopped.abort(new Error('A stop has begun'));
      expect(await timed(work)).toEqual({ result: false, atMs: 600 });
      expect(log.lines).toEqual([]);
    });

    test('a deregistration waits for the attempt under way, which would put the object again after it', async () => {
      const only = endpoint({ announceReady: answersLate(clock, 300, undefined) });
      const object = registration([only]);
      const announced = object.announceReady(TEMPLATE, stopped.signal);
      await clock.pass(100);
      stopped.abort(new Error('A stop has begun'));
      expect((await timed(object.deregister(5_000))).result).toMatchObject({ outcome: 'gone' });
      expect(await announced).toBe(true);
      expect(only.times('deregister')).toEqual([300]);
    });

    test("leaves somebody else's object alone, and says so", async () => {
      const only = endpoint({ announceReady: fails('DATAPLANE_FOREIGN') });
      expect((await timed(registration([only]).announceReady(TEMPLATE, stopped.signal))).result).toBe(false);
      expect(only.times('announceReady')).toEqual([0]);
      expect(log.events).toEqual(['announcement.failed']);
    });

    test('ends with the stop, during a pause', async () => {
      const only = endpoint({ announceReady: fails('ENDPOINT_REJECTED') });
      const work = registration([only]).announceReady(TEMPLATE, stopped.signal);
      await clock.pass(100);
      stopped.abort(new Error('A stop has begun'));
      expect((await timed(work)).atMs).toBe(100);
      expect(only.times('announceReady')).toEqual([0]);
    });

    test('does not begin once a stop has', async () => {
      stopped.abort(new Error('A stop has begun'));
      const only = endpoint();
      await timed(registration([only]).announceReady(TEMPLATE, stopped.signal));
      expect(only.calls).toEqual([]);
    });
  });

  describe('keepWarm()', () => {
    test('looks at every endpoint at once and every 20 s, and says what changed, once', async () => {
      const facts = { ...DEFAULT_FACTS, version: '2.14.3', propagationMs: 400 };
      const steady = endpoint({ check: answers(facts) });
      const shaky = endpoint(
        { check: [fails('ENDPOINT_UNREACHABLE'), fails('ENDPOINT_UNREACHABLE'), answers(facts)] },
        'b',
      );
      const object = registration([steady, shaky]);
      object.keepWarm(stopped.signal);
      await clock.pass(60_000);
      expect(steady.times('check')).toEqual([0, 20_000, 40_000, 60_000]);
      expect(log.lines.map(({ event, fields }) => `${event} ${String(fields?.['url'])}`)).toEqual([
        'endpoint.reached a',
        'endpoint.lost b',
        'endpoint.reached b',
      ]);
      expect(object.facts).toEqual(facts);
      expect(object.settleMs).toBe(650);
    });

    test('an endpoint that hangs is lost after 5 s, and says nothing when the agent ends', async () => {
      registration([endpoint({ check: hangs })]).keepWarm(stopped.signal);
      await clock.pass(5_000);
      expect(log.events).toEqual(['endpoint.lost']);
      await clock.pass(20_000);
      stopped.abort(new Error('over'));
      await clock.settle();
      expect(log.events).toEqual(['endpoint.lost']);
    });
  });

  test("settles as long as the option says, else by Kuma's defaults until the control plane was asked", () => {
    expect(registration([]).settleMs).toBe(2_250);
    expect(registration([], { settle: 700 }).settleMs).toBe(700);
  });

  test('close() closes every endpoint', () => {
    const endpoints = [endpoint(), endpoint({}, 'b')];
    registration(endpoints).close();
    expect(endpoints.map(({ closed }) => closed)).toEqual([true, true]);
  });
});
