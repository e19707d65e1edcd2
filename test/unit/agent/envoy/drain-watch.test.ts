import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { untilDrained } from '../../../../agent/envoy/drain-watch.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeEnvoyAdmin, statsOf } from '../../../support/fake-envoy-admin.ts';

describe('untilDrained()', () => {
  let clock: FakeClock;
  let admin: FakeEnvoyAdmin;
  let stopped: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    admin = new FakeEnvoyAdmin();
    stopped = new AbortController();
  });

  afterEach(async () => {
    stopped.abort(new Error('the test is over'));
    await clock.settle();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  /** Active requests until `untilMs`, then none. */
  function busyUntil(untilMs: number): void {
    admin.onStats = () => Promise.resolve(statsOf(clock.monotonicMs() < untilMs ? 3 : 0, 3));
  }

  async function watch(): Promise<{ readonly atMs: number; readonly failure?: unknown }> {
    let done: { readonly atMs: number; readonly failure?: unknown } | undefined;
    untilDrained({ clock, admin, stopped: stopped.signal }).then(
      () => {
        done = { atMs: clock.monotonicMs() };
      },
      (failure: unknown) => {
        done = { atMs: clock.monotonicMs(), failure };
      },
    );
    await clock.passUntil(() => done !== undefined, 60_000);
    if (done === undefined) throw new TypeError('it has not ended');
    return done;
  }

  test('is over after 500 ms without a request', async () => {
    expect(await watch()).toEqual({ atMs: 500 });
  });

  test('waits for the last request, then 500 ms more', async () => {
    busyUntil(2_950);
    expect(await watch()).toEqual({ atMs: 3_500 });
  });

  test('a request too short to be seen active begins the quiet anew', async () => {
    admin.onStats = () => Promise.resolve(statsOf(0, clock.monotonicMs() < 400 ? 7 : 8));
    expect(await watch()).toEqual({ atMs: 900 });
  });

  test('the admin may fail four times in a row', async () => {
    let failures = 0;
    admin.onStats = () => {
      failures += 1;
      return failures % 5 === 0 ? Promise.resolve(statsOf(0, 0)) : Promise.reject(new Error('busy'));
    };
    expect(await watch()).toEqual({ atMs: 900 });
  });

  test('an admin that fails five times in a row counts as gone', async () => {
    const failure = new Error('connection refused');
    admin.onStats = () => Promise.reject(failure);
    expect(await watch()).toEqual({ atMs: 400, failure });
    expect(admin.asked).toBe(5);
  });

  test('outbound requests do not hold the drain', async () => {
    admin.onStats = () => Promise.resolve('listener.127.0.0.1_30001.downstream_cx_active: 4');
    expect(await watch()).toEqual({ atMs: 500 });
  });

  test('where directions cannot be read, outbound work counts: longer, never shorter', async () => {
    admin.onListenerConfig = () => Promise.reject(new Error('no'));
    admin.onStats = () =>
      Promise.resolve(
        `listener.127.0.0.1_30001.downstream_cx_active: ${clock.monotonicMs() < 1_000 ? 4 : 0}`,
      );
    expect(await watch()).toEqual({ atMs: 1_500 });
  });

  test('ends with the stop', async () => {
    busyUntil(60_000);
    clock.after(1_234, () => {
      stopped.abort(new Error('The stop is over'));
    });
    expect(await watch()).toEqual({ atMs: 1_234, failure: new Error('The stop is over') });
  });
});
