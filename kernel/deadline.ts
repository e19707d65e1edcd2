import type { Clock } from './clock.ts';
import { OperationalError } from './errors.ts';

/** The operation's view of its budget. */
export interface DeadlineScope {
  /** Aborts with an {@link OperationalError} when the budget is spent, or with `cancel`'s reason. */
  readonly signal: AbortSignal;
  /** Milliseconds left, never negative. */
  remainingMs(): number;
  /** Extends the operation's time: its server has said that it needs this long. */
  readonly extend: (budgetMs: number) => void;
}

export interface DeadlineOptions {
  readonly clock: Clock;
  /** Imperative phrase for the error message: `deregister dataplane "web-1"`. */
  readonly action: string;
  readonly budgetMs: number;
  /**
   * Extra reason to stop early. Leave it out for clean-up work: the signal that *started* the
   * shutdown is already aborted, so passing it would cancel the very call it is meant to allow.
   */
  readonly cancel?: AbortSignal;
}

/**
 * Runs `operation` under its own time budget, measured on the monotonic clock.
 *
 * Not `AbortSignal.timeout()`: Node does not keep the process alive for it and fake timers do not
 * move it. Not `AbortSignal.any()`: on a long-lived parent it retains every composite that has a
 * listener (nodejs/node#54614).
 *
 * @throws {@link OperationalError} `DEADLINE_EXCEEDED`, even if `operation` ignores its signal.
 */
export async function withDeadline<T>(
  options: DeadlineOptions,
  operation: (scope: DeadlineScope) => Promise<T>,
): Promise<T> {
  const { clock, action, budgetMs, cancel } = options;
  cancel?.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  let expiresAtMs = clock.monotonicMs() + budgetMs;

  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener(
      'abort',
      () => {
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });
  const follow = (): void => {
    controller.abort(cancel?.reason);
  };
  const arm = (forMs: number): (() => void) =>
    clock.after(forMs, () => {
      const details = { budgetMs: Math.round(forMs) };
      const text = `Cannot ${action} within ${details.budgetMs} ms`;
      controller.abort(new OperationalError('DEADLINE_EXCEEDED', text, { details }));
    });
  let disarm = arm(budgetMs);
  cancel?.addEventListener('abort', follow, { once: true });

  try {
    const scope: DeadlineScope = {
      signal,
      remainingMs: () => Math.max(0, expiresAtMs - clock.monotonicMs()),
      extend: (forMs) => {
        if (clock.monotonicMs() + forMs <= expiresAtMs) return;
        expiresAtMs = clock.monotonicMs() + forMs;
        disarm();
        disarm = arm(forMs);
      },
    };
    return await Promise.race([aborted, operation(scope)]);
  } finally {
    disarm();
    cancel?.removeEventListener('abort', follow);
  }
}
