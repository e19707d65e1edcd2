import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { EnvoyLookup } from '../../../../agent/ports.ts';
import {
  orElsewhere,
  untilConfigured,
  untilEnvoyRuns,
  untilLive,
  untilServing,
} from '../../../../agent/envoy/serving.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeEnvoyAdmin } from '../../../support/fake-envoy-admin.ts';

const PID = 4711;
const RESOURCE = {
  type: 'Dataplane',
  name: 'web-1',
  networking: { address: '10.0.0.1', inbound: [{ port: 80 }] },
};
const LISTENING = {
  listener_statuses: [{ local_address: { socket_address: { address: '10.0.0.1', port_value: 80 } } }],
};

describe('serving', () => {
  let clock: FakeClock;
  let over: AbortController;
  let looks: number[];

  beforeEach(() => {
    clock = new FakeClock();
    over = new AbortController();
    looks = [];
  });

  afterEach(async () => {
    over.abort(new Error('the test is over'));
    await clock.settle();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function finderOf(lookupAt: (atMs: number) => EnvoyLookup) {
    return {
      find: (pid: number): Promise<EnvoyLookup> => {
        expect(pid).toBe(PID);
        looks.push(clock.monotonicMs());
        return Promise.resolve(lookupAt(clock.monotonicMs()));
      },
    };
  }

  async function ending(
    work: Promise<unknown>,
  ): Promise<{ readonly atMs: number; readonly result: unknown }> {
    let done: { readonly atMs: number; readonly result: unknown } | undefined;
    void work
      .catch((error: unknown) => error)
      .then((result) => {
        done = { atMs: clock.monotonicMs(), result };
      });
    await clock.passUntil(() => done !== undefined);
    if (done === undefined) throw new TypeError('it has not ended');
    return done;
  }

  describe('untilEnvoyRuns()', () => {
    test('looks again while an Envoy that cannot be asked may still be starting', async () => {
      const admin = new FakeEnvoyAdmin();
      const finder = finderOf((atMs) =>
        atMs < 1_500 ? { hidden: 'no socket yet', mayPass: true } : { admin },
      );
      const work = untilEnvoyRuns({ clock, finder, kumaDpPid: PID, over: over.signal });
      expect(await ending(work)).toEqual({ atMs: 1_500, result: { admin } });
    });

    test.each([
      ['at once if that cannot change', false, 1],
      ['after two seconds', true, 41],
    ])('believes that an Envoy cannot be asked %s', async (_title, mayPass, count) => {
      const lookup = { hidden: 'not ours', mayPass };
      const work = untilEnvoyRuns({
        clock,
        finder: finderOf(() => lookup),
        kumaDpPid: PID,
        over: over.signal,
      });
      expect(await ending(work)).toMatchObject({ result: lookup });
      expect(looks).toHaveLength(count);
    });

    test('looks every 50 ms until there is one', async () => {
      const admin = new FakeEnvoyAdmin();
      const finder = finderOf((atMs) => (atMs < 120 ? 'absent' : { admin }));
      const work = untilEnvoyRuns({ clock, finder, kumaDpPid: PID, over: over.signal });
      expect(await ending(work)).toEqual({ atMs: 150, result: { admin } });
      expect(looks).toEqual([0, 50, 100, 150]);
    });

    test('says why one that is there cannot be asked', async () => {
      const finder = finderOf(() => ({ hidden: 'no admin address' }));
      const work = untilEnvoyRuns({ clock, finder, kumaDpPid: PID, over: over.signal });
      expect(await ending(work)).toEqual({ atMs: 0, result: { hidden: 'no admin address' } });
    });

    test('looks once a second after 15 s: kuma-dp waits for its control plane', async () => {
      const finder = finderOf((atMs) => (atMs < 20_000 ? 'absent' : { hidden: '' }));
      const work = untilEnvoyRuns({ clock, finder, kumaDpPid: PID, over: over.signal });
      expect((await ending(work)).atMs).toBe(20_000);
      expect(looks.filter((atMs) => atMs > 15_000)).toEqual([16_000, 17_000, 18_000, 19_000, 20_000]);
    });

    test('ends with the watch', async () => {
      const finder = finderOf(() => 'absent');
      clock.after(75, () => {
        over.abort(new Error('kuma-dp has ended'));
      });
      const work = untilEnvoyRuns({ clock, finder, kumaDpPid: PID, over: over.signal });
      expect(await ending(work)).toEqual({ atMs: 75, result: new Error('kuma-dp has ended') });
    });
  });

  describe('orElsewhere()', () => {
    test.each([
      {
        what: 'none for half a minute: it is elsewhere',
        seenAtMs: Infinity,
        envoyAtMs: Infinity,
        says: 'runs where this agent cannot see it',
        endsAtMs: 30_000,
      },
      {
        what: 'it, and no Envoy yet: it is waited for',
        seenAtMs: 2_000,
        envoyAtMs: 60_000,
        says: 'Envoy came',
        endsAtMs: 60_000,
      },
      {
        what: 'it late, after its secrets were fetched',
        seenAtMs: 29_000,
        envoyAtMs: 31_000,
        says: 'Envoy came',
        endsAtMs: 31_000,
      },
      { what: 'its Envoy at once', seenAtMs: 0, envoyAtMs: 50, says: 'Envoy came', endsAtMs: 50 },
    ])(
      'behind an unknown program kuma-dp is seen: $what',
      async ({ seenAtMs, envoyAtMs, says, endsAtMs }) => {
        const finder = orElsewhere({
          clock,
          finder: finderOf((nowMs) => (nowMs < envoyAtMs ? 'absent' : { hidden: 'Envoy came' })),
          isThere: () => clock.monotonicMs() >= seenAtMs,
        });
        const work = ending(untilEnvoyRuns({ clock, finder, kumaDpPid: PID, over: over.signal }));
        const { atMs, result } = await work;
        expect(JSON.stringify(result)).toContain(says);
        expect(atMs).toBeGreaterThanOrEqual(endsAtMs);
        expect(atMs).toBeLessThanOrEqual(endsAtMs + 1_000);
      },
    );
  });

  describe('untilServing()', () => {
    test('waits until Envoy listens on every port of the resource', async () => {
      const admin = new FakeEnvoyAdmin();
      admin.onListeners = () =>
        Promise.resolve(clock.monotonicMs() < 240 ? { listener_statuses: [] } : LISTENING);
      const work = untilServing(clock, admin, { resource: RESOURCE, over: over.signal });
      expect(await ending(work)).toEqual({ atMs: 250, result: undefined });
    });

    test('an admin that does not answer yet is not an end', async () => {
      const admin = new FakeEnvoyAdmin();
      admin.onListeners = () =>
        clock.monotonicMs() < 100 ? Promise.reject(new Error('refused')) : Promise.resolve(LISTENING);
      expect((await ending(untilServing(clock, admin, { resource: RESOURCE, over: over.signal }))).atMs).toBe(
        100,
      );
    });

    test('ends with the watch', async () => {
      clock.after(75, () => {
        over.abort(new Error('kuma-dp has ended'));
      });
      const work = untilServing(clock, new FakeEnvoyAdmin(), { resource: RESOURCE, over: over.signal });
      expect(await ending(work)).toEqual({ atMs: 75, result: new Error('kuma-dp has ended') });
    });
  });

  test('an Envoy with unknown ports serves once it says that it is live', async () => {
    const said = ['', 'server.state: 2\n', 'server.state: 0\n'];
    const admin = new FakeEnvoyAdmin();
    admin.onStats = () => {
      const text = said.shift() ?? '';
      return text === '' ? Promise.reject(new Error('not up')) : Promise.resolve(text);
    };
    const live = ending(untilLive(clock, admin, over.signal));
    await clock.pass(1_000);
    expect(await live).toMatchObject({ atMs: 100 });
  });
});

describe('untilConfigured()', () => {
  test.for<readonly [string, (admin: FakeEnvoyAdmin) => void]>([
    [
      'it has a listener',
      (admin) => (admin.onListeners = () => Promise.resolve({ listener_statuses: [{}] })),
    ],
    ['it is live without any', (admin) => (admin.onStats = () => Promise.resolve('server.state: 0'))],
  ])('resolves when %s, and says until then that it has none', async ([, configure]) => {
    const clock = new FakeClock();
    const admin = new FakeEnvoyAdmin();
    admin.onStats = () => Promise.resolve('server.state: 2');
    let configured = false;
    let missing = 0;
    const over = new AbortController().signal;
    const onMissing = (): void => void (missing += 1);
    void untilConfigured(clock, admin, { onMissing, over }).then(() => (configured = true));
    await clock.pass(10_000);
    expect([configured, missing]).toEqual([false, 201]);
    configure(admin);
    await clock.pass(100);
    expect(configured).toBe(true);
  });

  test.for<readonly [string, (admin: FakeEnvoyAdmin) => void]>([
    [
      'that does not answer',
      (admin) => (admin.onListeners = () => Promise.reject(new Error('connection refused'))),
    ],
    ['without a state', (admin) => (admin.onStats = () => Promise.resolve(''))],
  ])('an admin %s says nothing of the configuration', async ([, answer]) => {
    const clock = new FakeClock();
    const admin = new FakeEnvoyAdmin();
    answer(admin);
    const over = new AbortController();
    let missing = 0;
    const work = untilConfigured(clock, admin, { onMissing: () => (missing += 1), over: over.signal });
    await clock.pass(1_000);
    over.abort(new Error('over'));
    await expect(work).rejects.toThrow('over');
    expect(missing).toBe(0);
  });
});
