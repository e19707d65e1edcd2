import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { sleep, systemClock, unlessAborted, within } from '../../../kernel/clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe('sleep()', () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  test('ends when its time has come, not before', async () => {
    const woke = vi.fn();
    const slept = sleep(clock, 100).then(woke);
    await clock.pass(99);
    expect(woke).not.toHaveBeenCalled();
    await clock.pass(1);
    await slept;
    expect(woke).toHaveBeenCalledOnce();
  });

  test('rejects with the reason of its signal as soon as that aborts', async () => {
    const controller = new AbortController();
    const slept = expect(sleep(clock, 100, controller.signal)).rejects.toThrow('enough');
    controller.abort(new Error('enough'));
    await slept;
  });

  test('does not begin when its signal is aborted already', async () => {
    await expect(sleep(clock, 100, AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late');
  });

  test('leaves no listener on a long-lived signal', async () => {
    const { signal } = new AbortController();
    const removed = vi.spyOn(signal, 'removeEventListener');
    const slept = sleep(clock, 100, signal);
    clock.advance(100);
    await slept;
    expect(removed).toHaveBeenCalledOnce();
  });
});

describe('systemClock', () => {
  test('fires a timer once, and not at all when it was disarmed', async () => {
    const disarmed = vi.fn();
    systemClock.after(0, disarmed)();
    const before = systemClock.monotonicMs();
    await new Promise<void>((resolve) => {
      systemClock.after(2, resolve);
    });
    expect(disarmed).not.toHaveBeenCalled();
    expect(systemClock.monotonicMs()).toBeGreaterThan(before);
  });

  test('tells wall time in milliseconds since 1970', () => {
    expect(new Date(systemClock.wallMs()).getUTCFullYear()).toBeGreaterThan(2025);
  });
});

describe('within()', () => {
  test.for([
    { takesMs: 99, gets: 'done', atMs: 99 },
    { takesMs: 101, gets: undefined, atMs: 100 },
  ])('work of $takesMs ms within 100 ms: $gets', async ({ takesMs, gets, atMs }) => {
    const clock = new FakeClock();
    const work = sleep(clock, takesMs).then(() => 'done');
    const got = within(clock, 100, work).then((value) => ({ value, atMs: clock.monotonicMs() }));
    await clock.pass(200);
    expect(await got).toEqual({ value: gets, atMs });
    expect(clock.armed).toBe(0);
  });

  test('passes on what the work throws', async () => {
    const clock = new FakeClock();
    await expect(within(clock, 100, Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(clock.armed).toBe(0);
  });
});

describe('unlessAborted()', () => {
  test('passes on what the work gives or throws in time', async () => {
    const { signal } = new AbortController();
    await expect(unlessAborted(signal, Promise.resolve('done'))).resolves.toBe('done');
    await expect(unlessAborted(signal, Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  test('does not wait once it is aborted, and drops a later failure', async () => {
    const stop = new AbortController();
    const { promise, reject } = Promise.withResolvers<string>();
    const work = unlessAborted(stop.signal, promise);
    stop.abort();
    await expect(work).resolves.toBeUndefined();
    await expect(unlessAborted(stop.signal, promise)).resolves.toBeUndefined();
    reject(new Error('too late'));
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  });
});
