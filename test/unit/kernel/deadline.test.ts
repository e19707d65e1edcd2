import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { withDeadline } from '../../../kernel/deadline.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe('withDeadline()', () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  test('returns the result and disarms its timer', async () => {
    await expect(
      withDeadline({ clock, action: 'answer', budgetMs: 100 }, () => Promise.resolve(42)),
    ).resolves.toBe(42);
  });

  test('passes on the failure and disarms its timer', async () => {
    const failure = new Error('no');
    await expect(
      withDeadline({ clock, action: 'answer', budgetMs: 100 }, () => Promise.reject(failure)),
    ).rejects.toBe(failure);
  });

  test('disarms its timer when the operation throws before it awaits anything', async () => {
    await expect(
      withDeadline({ clock, action: 'answer', budgetMs: 100 }, () => {
        throw new TypeError('a bug');
      }),
    ).rejects.toThrow('a bug');
  });

  test('holds even if the operation ignores its signal', async () => {
    const hangs = withDeadline(
      { clock, action: 'deregister dataplane "web-1"', budgetMs: 1_500.4 },
      () => new Promise(() => {}),
    );
    const outcome = expect(hangs).rejects.toMatchObject({
      name: 'OperationalError',
      code: 'DEADLINE_EXCEEDED',
      message: 'Cannot deregister dataplane "web-1" within 1500 ms',
      details: { budgetMs: 1_500 },
      retryable: true,
    });
    clock.advance(1_500.4);
    await outcome;
  });

  test('does not fire a moment too early', async () => {
    const settled = vi.fn();
    const pending = withDeadline({ clock, action: 'wait', budgetMs: 100 }, () => new Promise(() => {})).catch(
      settled,
    );
    await clock.pass(99);
    expect(settled).not.toHaveBeenCalled();
    await clock.pass(1);
    await pending;
    expect(settled).toHaveBeenCalledOnce();
  });

  test('aborts the signal of the operation with the very error that it throws', async () => {
    let seen: AbortSignal | undefined;
    const pending = withDeadline({ clock, action: 'wait', budgetMs: 100 }, ({ signal }) => {
      seen = signal;
      return new Promise(() => {});
    }).catch((error: unknown) => error);
    clock.advance(100);
    expect(await pending).toBe(seen?.reason);
  });

  test('rejects with the reason of `cancel` aborted while it runs', async () => {
    const controller = new AbortController();
    const call = withDeadline(
      { clock, action: 'wait', budgetMs: 100, cancel: controller.signal },
      () => new Promise(() => {}),
    );
    const outcome = expect(call).rejects.toThrow('operator insists');
    controller.abort(new Error('operator insists'));
    await outcome;
  });

  test('does not start the operation when `cancel` is already aborted', async () => {
    const operation = vi.fn(() => Promise.resolve());
    const cancel = AbortSignal.abort(new Error('too late'));
    await expect(withDeadline({ clock, action: 'wait', budgetMs: 100, cancel }, operation)).rejects.toThrow(
      'too late',
    );
    expect(operation).not.toHaveBeenCalled();
  });

  test('leaves no listener on a long-lived `cancel`', async () => {
    const { signal: cancel } = new AbortController();
    const added = vi.spyOn(cancel, 'addEventListener');
    const removed = vi.spyOn(cancel, 'removeEventListener');
    await withDeadline({ clock, action: 'answer', budgetMs: 100, cancel }, () => Promise.resolve());
    expect(removed.mock.calls).toEqual([[added.mock.calls[0]?.[0], added.mock.calls[0]?.[1]]]);
  });

  test('tells the operation how much time is left', async () => {
    const left = await withDeadline({ clock, action: 'measure', budgetMs: 100 }, (scope) => {
      clock.advance(30);
      return Promise.resolve(scope.remainingMs());
    });
    expect(left).toBe(70);
  });

  test.for([
    { name: 'more than is left', extendMs: 500, endsMs: 530 },
    { name: 'less than is left', extendMs: 10, endsMs: 100 },
  ])('an operation that is told to take $name has $endsMs ms in all', async ({ extendMs, endsMs }) => {
    const beganMs = clock.monotonicMs();
    let left = Number.NaN;
    const pending = withDeadline({ clock, action: 'wait', budgetMs: 100 }, (scope) => {
      clock.advance(30);
      scope.extend(extendMs);
      left = scope.remainingMs();
      return new Promise(() => {});
    });
    const failed = expect(pending).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(left).toBe(endsMs - 30);
    clock.advance(endsMs - 31);
    let over = false;
    pending.catch(() => {
      over = true;
    });
    await clock.settle();
    expect(over).toBe(false);
    clock.advance(1);
    await failed;
    expect(clock.monotonicMs() - beganMs).toBe(endsMs);
  });

  test('never says that less than no time is left', async () => {
    let left = Number.NaN;
    const pending = withDeadline({ clock, action: 'measure', budgetMs: 100 }, (scope) => {
      clock.advance(130);
      left = scope.remainingMs();
      return Promise.resolve();
    });
    await expect(pending).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(left).toBe(0);
  });

  test('a jump of the wall clock changes nothing', async () => {
    const left = await withDeadline({ clock, action: 'wait', budgetMs: 100 }, (scope) => {
      clock.wallJumpMs = 86_400_000;
      return Promise.resolve(scope.remainingMs());
    });
    expect(left).toBe(100);
  });
});
