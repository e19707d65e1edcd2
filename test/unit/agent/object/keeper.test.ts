import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { ObjectKeeper } from '../../../../agent/object/keeper.ts';
import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import type { FakeClock } from '../../../support/fake-clock.ts';
import type { EndpointAttempt, Endpoint } from '../../../../agent/ports.ts';
import { answers, answersLate, FakeEndpoint, fails, hangs } from '../../../support/fake-endpoint.ts';
import { FakeObject } from '../../../support/fake-object.ts';
import { FakeKeepers, TEMPLATE } from '../../../support/fake-keepers.ts';
import type { FakeLog } from '../../../support/fake-log.ts';

const CHANGED = { found: true, changed: true, states: { ':80': 'NotReady' } };

function cancel(): AbortSignal {
  return new AbortController().signal;
}

describe('ObjectKeeper', () => {
  let keepers: FakeKeepers;
  let clock: FakeClock;
  let log: FakeLog;

  beforeEach(() => {
    keepers = new FakeKeepers();
    ({ clock, log } = keepers);
  });

  afterEach(() => keepers.close());

  function endpoint(replies: ConstructorParameters<typeof FakeEndpoint>[2] = {}, url = 'a'): FakeEndpoint {
    return new FakeEndpoint(clock, url, replies);
  }

  function keeper(...given: Parameters<FakeKeepers['keeper']>): ObjectKeeper {
    return keepers.keeper(...given);
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

  async function owner(of: Endpoint): Promise<ObjectKeeper> {
    const kept = keeper([of]);
    await timed(kept.claim(900, cancel()));
    return kept;
  }

  describe('deregister()', () => {
    test.for(['deleted', 'already gone'] as const)('"%s" is success', async (answer) => {
      const work = keeper([endpoint({ deregister: answers(answer) })]).deregister(5_000);
      expect(await timed(work)).toEqual({
        result: { outcome: 'gone', reason: answer, endpoint: 'a', attempts: 1 },
        atMs: 0,
      });
    });

    test('asked again while it is under way it is the same attempt', async () => {
      const only = endpoint({ deregister: answersLate(clock, 300, 'deleted' as const) });
      const object = keeper([only]);
      const both = Promise.all([object.deregister(5_000), object.deregister(9_000)]);
      const { result } = await timed(both);
      expect(result[0]).toEqual(result[1]);
      expect(only.times('deregister')).toEqual([0]);
    });

    test('reads the object back where the answer got lost, and takes its absence for success', async () => {
      const only = endpoint({ deregister: [fails('ENDPOINT_UNREACHABLE'), answers('already gone')] });
      const { result } = await timed(keeper([only]).deregister(5_000));
      expect(result).toEqual({ outcome: 'gone', reason: 'already gone', endpoint: 'a', attempts: 2 });
    });

    test('leaves an external dataplane alone and asks no endpoint', async () => {
      const only = endpoint();
      const { result } = await timed(keeper([only], { mayDelete: false }).deregister(5_000));
      expect(result).toEqual({
        outcome: 'kept',
        reason: 'external: the operator deletes it',
        endpoint: undefined,
        attempts: 0,
      });
      expect(only.calls).toEqual([]);
    });

    test("keeps another run's object", async () => {
      const only = endpoint({ deregister: fails('DATAPLANE_FOREIGN') });
      const { result } = await timed(keeper([only]).deregister(5_000));
      expect(result).toEqual({
        outcome: 'kept',
        reason: 'Cannot: DATAPLANE_FOREIGN',
        endpoint: undefined,
        attempts: 1,
      });
    });

    const handedOver = fails('ENDPOINT_BUSY', { handedOver: true, endpoint: 'grpcs://a:1' });

    test('a companion that has not finished is asked again until the object is gone', async () => {
      const only = endpoint({ deregister: [handedOver, handedOver, answers('deleted' as const)] });
      const { result } = await timed(keeper([only]).deregister(5_000));
      expect(result).toEqual({ outcome: 'gone', reason: 'deleted', endpoint: 'a', attempts: 3 });
    });

    test('a departure that a companion has recorded but not finished is handed over, not failed', async () => {
      const late = endpoint({ deregister: handedOver });
      const down = endpoint({ deregister: fails('ENDPOINT_REJECTED') }, 'b');
      const { result, atMs } = await timed(keeper([late, down]).deregister(2_000));
      expect(atMs).toBeLessThanOrEqual(2_000);
      expect(result).toMatchObject({
        outcome: 'handed over',
        reason: 'Cannot: ENDPOINT_BUSY',
        endpoint: 'grpcs://a:1',
      });
    });

    test('a departure that would not survive a crash of the companion is not handed over', async () => {
      const late = endpoint({ deregister: fails('ENDPOINT_BUSY', { handedOver: false }) });
      const { result } = await timed(keeper([late]).deregister(2_000));
      expect(result).toMatchObject({ outcome: 'failed' });
    });

    test('an object of another run outweighs a handed-over departure', async () => {
      const late = endpoint({ deregister: [handedOver, fails('DATAPLANE_FOREIGN')] });
      const { result } = await timed(keeper([late]).deregister(2_000));
      expect(result).toMatchObject({ outcome: 'kept' });
    });

    test('gives each attempt its time limit', async () => {
      const budgets: number[] = [];
      const only = endpoint({ deregister: [fails('ENDPOINT_BUSY'), answers('deleted' as const)] });
      const asked = Object.assign(only, {
        make: (_departure: unknown, _want: unknown, { budgetMs }: EndpointAttempt) => {
          budgets.push(budgetMs);
          return Promise.reject(new OperationalError('ENDPOINT_BUSY', 'Cannot'));
        },
      });
      await timed(keeper([asked]).deregister(8_000));
      expect(budgets.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 4_000]);
      expect(budgets.at(-1)).toBeLessThan(4_000);
    });

    test('gives up when there is no time for another attempt, and says what failed last', async () => {
      const only = endpoint({ deregister: fails('ENDPOINT_BUSY', { retryAfterMs: 2_000 }) });
      const { result, atMs } = await timed(keeper([only]).deregister(5_000));
      expect(atMs).toBe(4_000);
      expect(result).toEqual({
        outcome: 'failed',
        reason: 'Cannot: ENDPOINT_BUSY',
        endpoint: undefined,
        attempts: 3,
      });
    });

    test('keeps its deadline even if the endpoint hangs', async () => {
      const { result, atMs } = await timed(keeper([endpoint({ deregister: hangs })]).deregister(5_000));
      expect({ outcome: result.outcome, atMs }).toEqual({ outcome: 'failed', atMs: 5_000 });
    });

    test('makes an attempt even if its deadline has passed', async () => {
      await clock.pass(6_000);
      const only = endpoint();
      const { result } = await timed(keeper([only]).deregister(5_000));
      expect(only.times('deregister')).toEqual([6_000]);
      expect(result.outcome).toBe('gone');
    });

    test('turns a bug into a failed deregistration with a reason', async () => {
      const only = endpoint({ deregister: () => Promise.reject(new TypeError('a bug')) });
      const { result } = await timed(keeper([only]).deregister(5_000));
      expect(result).toMatchObject({ outcome: 'failed', reason: 'a bug' });
    });
  });

  function stranger(object: FakeObject): ObjectKeeper {
    const made = keeper([object]);
    made.onConfiguration('missing');
    return made;
  }

  describe('a run whose Envoy was never given its configuration', () => {
    test('leaves the object at its own name and address to the run that was accepted', async () => {
      const object = new FakeObject(clock, { ...TEMPLATE });
      const kept = stranger(object);
      const { result } = await timed(kept.deregister(5_000));
      expect(result).toMatchObject({ outcome: 'kept', attempts: 0 });
      expect((await timed(kept.confirm(clock.monotonicMs() + 2_000))).result).toMatchObject({
        outcome: 'left',
      });
      expect(object.state).toBe('Ready');
    });

    test('that is accepted in the end takes its object away', async () => {
      const kept = stranger(new FakeObject(clock, { ...TEMPLATE }));
      kept.onConfiguration('given');
      expect((await timed(kept.deregister(5_000))).result).toMatchObject({ outcome: 'gone' });
    });

    test('deletes what it has put itself', async () => {
      const object = new FakeObject(clock);
      const kept = stranger(object);
      await timed(kept.claim(900, cancel()));
      expect((await timed(kept.deregister(5_000))).result).toMatchObject({ outcome: 'gone' });
    });

    test('and what an unanswered PUT may have put', async () => {
      const object = new FakeObject(clock);
      object.writeMs = 1_000;
      const kept = stranger(object);
      await timed(kept.claim(800, cancel()).catch(() => {}));
      await clock.pass(500);
      object.writeMs = 0;
      expect((await timed(kept.deregister(5_000))).result).toMatchObject({ reason: 'deleted' });
    });
  });

  describe('hasten()', () => {
    test('gives the attempt under way one more second', async () => {
      const object = keeper([endpoint({ deregister: hangs })]);
      const work = object.deregister(5_000);
      await clock.pass(700);
      object.hasten();
      const { result, atMs } = await timed(work);
      expect(atMs).toBe(1_700);
      expect(result).toMatchObject({
        outcome: 'failed',
        reason:
          'Stopped trying to deregister default/web-1: second stop request; last: Cannot deregister dataplane default/web-1 at a within 1000 ms',
      });
    });

    test('lets an answer within that second count', async () => {
      const object = keeper([endpoint({ deregister: answersLate(clock, 900, 'deleted' as const) })]);
      const work = object.deregister(5_000);
      object.hasten();
      expect(await timed(work)).toMatchObject({ result: { outcome: 'gone' }, atMs: 900 });
    });

    test('never makes the deadline later', async () => {
      const object = keeper([endpoint({ deregister: hangs })]);
      const work = object.deregister(500);
      object.hasten();
      expect(await timed(work)).toMatchObject({ result: { outcome: 'failed' }, atMs: 500 });
    });
  });

  test('a deregistration that failed is tried again when it is asked for again', async () => {
    const only = endpoint({ deregister: [fails('ENDPOINT_REJECTED'), answers('deleted' as const)] });
    const object = keeper([only]);
    expect((await timed(object.deregister(5_000))).result).toMatchObject({ outcome: 'failed' });
    expect((await timed(object.deregister(5_000))).result).toMatchObject({ outcome: 'gone' });
  });

  describe('confirm()', () => {
    test.for([
      { verdict: 'gone', outcome: { outcome: 'gone' } },
      { verdict: 'deleted', outcome: { outcome: 'deleted again' } },
    ] as const)('"$verdict" ends it at once', async ({ verdict, outcome }) => {
      const only = endpoint({ confirm: answers({ verdict }) });
      expect(await timed(keeper([only]).confirm(2_000))).toEqual({ result: outcome, atMs: 0 });
    });

    test('looks again every 300 ms while it is unclear', async () => {
      const wait = answers({ verdict: 'wait', reason: 'a subscription is online' } as const);
      const only = endpoint({ confirm: [wait, wait, answers({ verdict: 'deleted' })] });
      expect(await timed(keeper([only]).confirm(2_000))).toEqual({
        result: { outcome: 'deleted again' },
        atMs: 600,
      });
      expect(only.times('confirm')).toEqual([0, 300, 600]);
    });

    test('waits until the end, then leaves it, and says why', async () => {
      const only = endpoint({ confirm: answers({ verdict: 'wait', reason: 'a subscription is online' }) });
      expect(await timed(keeper([only]).confirm(2_000))).toEqual({
        result: { outcome: 'left', reason: 'a subscription is online' },
        atMs: 2_000,
      });
    });

    test("leaves another run's at once", async () => {
      const only = endpoint({ confirm: answers({ verdict: 'leave', reason: 'another incarnation' }) });
      expect(await timed(keeper([only]).confirm(2_000))).toEqual({
        result: { outcome: 'left', reason: 'another incarnation' },
        atMs: 0,
      });
    });

    test('is not certain where no endpoint answers in time', async () => {
      const only = endpoint({ confirm: hangs });
      const { result, atMs } = await timed(keeper([only]).confirm(2_000));
      expect(atMs).toBe(2_000);
      expect(result).toEqual({
        outcome: 'unknown',
        reason: 'Cannot confirm that dataplane default/web-1 is gone within 2000 ms',
      });
    });

    test('is not certain where there was no time to look', async () => {
      await clock.pass(2_000);
      const only = endpoint();
      expect((await timed(keeper([only]).confirm(2_000))).result).toEqual({
        outcome: 'unknown',
        reason: 'there was no time to look',
      });
      expect(only.calls).toEqual([]);
    });

    test('does not look at all where the object is not ours to delete', async () => {
      const only = endpoint();
      expect((await timed(keeper([only], { mayDelete: false }).confirm(2_000))).result).toEqual({
        outcome: 'left',
        reason: 'its owner deletes it, not the agent',
      });
      expect(only.calls).toEqual([]);
    });
  });

  describe('confirm() beside a write that was not answered', () => {
    test('is not certain until the answer is known or the time is over', async () => {
      const object = new FakeObject(clock);
      object.writeMs = 1_200;
      const kept = keeper([object]);
      await timed(kept.claim(200, cancel()).catch(() => {}));
      // The stop finds nothing to delete; then the control plane carries out the PUT.
      expect((await timed(kept.deregister(5_000))).result).toMatchObject({ reason: 'already gone' });
      const { result } = await timed(kept.confirm(clock.monotonicMs() + 2_000));
      expect(result).toEqual({ outcome: 'deleted again' });
      expect(object.history).toEqual(['1200 NotReady']);
      expect(object.state).toBe('missing');
    });

    test('an answer that never comes leaves it open', async () => {
      const object = new FakeObject(clock);
      object.mute = true;
      object.writeMs = 90_000;
      const kept = keeper([object]);
      await timed(kept.claim(200, cancel()).catch(() => {}));
      await timed(kept.deregister(5_000));
      const { result } = await timed(kept.confirm(clock.monotonicMs() + 2_000));
      expect(result).toEqual({
        outcome: 'unknown',
        reason: 'an unanswered write may still create it',
      });
      kept.close();
      await clock.pass(90_000);
    });
  });

  describe('claim()', () => {
    test('puts the object not ready, labelled, within its budget, in place of what stands there', async () => {
      const object = new FakeObject(clock, {
        ...TEMPLATE,
        labels: { [INCARNATION_LABEL]: 'run-0' },
      });
      await timed(keeper([object]).claim(900, cancel()));
      expect(object.state).toBe('NotReady');
      expect(object.stored?.labels).toEqual({ [INCARNATION_LABEL]: 'run-1' });
    });

    test('fails when its budget is spent', async () => {
      const work = keeper([endpoint({ hide: hangs })]).claim(900, cancel());
      const { result, atMs } = await timed(work.catch((error: unknown) => error));
      expect(atMs).toBe(900);
      expect(result).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    });

    test('ends at once when a stop comes first', async () => {
      const reason = new OperationalError('CANCELLED', 'A stop has begun');
      const stopping = new AbortController();
      const work = keeper([endpoint({ hide: hangs })]).claim(900, stopping.signal);
      await clock.pass(100);
      stopping.abort(reason);
      expect(await timed(work.catch((error: unknown) => error))).toEqual({ result: reason, atMs: 100 });
    });
  });

  describe('before Envoy serves', () => {
    test('looks every other second, and changes nothing that is there', async () => {
      const only = endpoint();
      await timed(keeper([only]).claim(900, cancel()));
      await clock.pass(7_000);
      expect(only.times('hide')).toEqual([0, 2_000, 4_000, 6_000]);
      expect(only.wants.map(({ wish }) => wish)).toEqual([
        { state: 'hidden', takeOver: true },
        ...Array.from({ length: 3 }, () => ({ state: 'hidden', takeOver: false })),
      ]);
      expect(log.events).toEqual([]);
    });

    test('puts the object again that is gone, and says so', async () => {
      const object = new FakeObject(clock);
      await timed(keeper([object]).claim(900, cancel()));
      await clock.pass(3_000);
      object.stored = undefined;
      await clock.pass(1_500);
      expect(object.state).toBe('NotReady');
      expect(log.events).toEqual(['dataplane.registered-again']);
    });

    test('leaves the object of another run alone, and looks again', async () => {
      const object = new FakeObject(clock);
      await timed(keeper([object]).claim(900, cancel()));
      object.stored = { ...TEMPLATE, labels: { [INCARNATION_LABEL]: 'run-2' } };
      await clock.pass(3_000);
      expect(object.state).toBe('Ready');
      object.stored = undefined;
      await clock.pass(3_000);
      expect(object.state).toBe('NotReady');
    });
  });

  describe('once Envoy serves', () => {
    test('the object is made ready once, and is not looked at again', async () => {
      const object = new FakeObject(clock);
      const kept = await owner(object);
      kept.onServing();
      await clock.pass(600_000);
      expect(object.history).toEqual(['0 NotReady', '0 Ready']);
      expect(log.events).toEqual(['dataplane.ready']);
      expect(kept.wasReady).toBe(true);
    });

    test('what fails is tried again after a pause, and said once', async () => {
      const only = endpoint({
        ready: [fails('ENDPOINT_REJECTED'), fails('ENDPOINT_REJECTED'), answers(CHANGED)],
      });
      const kept = await owner(only);
      kept.onServing();
      await clock.pass(10_000);
      expect(only.times('ready')).toEqual([0, 1_000, 2_000]);
      expect(log.events).toEqual(['readiness.failed', 'dataplane.ready']);
    });

    test('the object of another run is left alone, and that is said', async () => {
      const only = endpoint({ ready: fails('DATAPLANE_FOREIGN') });
      const kept = await owner(only);
      kept.onServing();
      await clock.pass(10_000);
      expect(only.times('ready')).toEqual([0]);
      expect(log.events).toEqual(['readiness.failed']);
    });

    test('a stop ends the pause before another try, and nothing is put after it', async () => {
      const only = endpoint({ ready: fails('ENDPOINT_REJECTED') });
      const kept = await owner(only);
      kept.onServing();
      await clock.pass(100);
      expect((await timed(kept.deregister(5_000))).atMs).toBe(100);
      await clock.pass(10_000);
      expect(only.times('ready')).toEqual([0]);
    });

    test('a stop waits for the PUT that is under way, which would create the object after it', async () => {
      const object = new FakeObject(clock);
      const kept = await owner(object);
      object.writeMs = 300;
      kept.onServing();
      await clock.pass(100);
      const { result } = await timed(kept.deregister(5_000));
      expect(result).toMatchObject({ outcome: 'gone' });
      expect(object.history).toEqual(['0 NotReady', '300 Ready', '600 missing']);
    });

    test('but not longer than half a second', async () => {
      const only = endpoint({ ready: hangs });
      const kept = await owner(only);
      kept.onServing();
      await clock.pass(100);
      expect((await timed(kept.deregister(5_000))).atMs).toBe(600);
      expect(only.times('deregister')).toEqual([600]);
    });
  });

  describe('a write that is carried out late', () => {
    test('an owner that was hidden by it is made ready again', async () => {
      const object = new FakeObject(clock);
      object.writeMs = 2_500;
      const kept = keeper([object]);
      await timed(kept.claim(800, cancel()).catch(() => {}));
      object.writeMs = 0;
      // The control plane owns the object: kuma-dp has registered it, Ready.
      object.stored = { ...TEMPLATE };
      await clock.pass(500);
      kept.onServing();
      await clock.pass(5_000);
      expect(object.history).toEqual(['2500 NotReady', '3300 Ready']);
      expect(log.events).toEqual(['dataplane.mended']);
      // Its answer has come: there is nothing left to look for.
      await clock.pass(120_000);
      expect(object.history).toHaveLength(2);
    });

    test('nothing is created for it: the control plane owns the object', async () => {
      const object = new FakeObject(clock);
      object.mute = true;
      object.writeMs = 90_000;
      const kept = keeper([object]);
      await timed(kept.claim(800, cancel()).catch(() => {}));
      kept.onServing();
      await clock.pass(80_000);
      expect(object.history).toEqual([]);
      await clock.pass(20_000);
    });

    test('a run without such a write never looks at an object that it does not own', async () => {
      const only = endpoint();
      keeper([only]).onServing();
      await clock.pass(60_000);
      expect(only.calls).toEqual([]);
    });
  });
});
