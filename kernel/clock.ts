/** The only way to read time or wait. Production passes {@link systemClock}, tests pass `FakeClock`. */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary origin. Never compare with wall time. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch. Only for values that leave the process. */
  wallMs(): number;
  /** Arms a timer that keeps the process alive until it fires or the returned function disarms it. */
  after(delayMs: number, fire: () => void): () => void;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** Resolves after `delayMs`, or rejects with the reason of `signal` as soon as that aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    wait(clock, delayMs, {
      signal,
      over: resolve,
      aborted: () => {
        reject(signal?.reason as Error);
      },
    });
  });
}

/** Resolves after `delayMs`, or as soon as `signal` aborts. Never rejects: the caller looks at the signal itself. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    wait(clock, delayMs, { signal, over: resolve, aborted: resolve });
  });
}

interface Ends {
  readonly signal: AbortSignal | undefined;
  readonly over: () => void;
  readonly aborted: () => void;
}

/** Calls one of `over` and `aborted`, and leaves neither a timer nor a listener. */
function wait(clock: Clock, delayMs: number, { signal, over, aborted }: Ends): void {
  if (signal?.aborted === true) {
    aborted();
    return;
  }
  const onAbort = (): void => {
    disarm();
    aborted();
  };
  const disarm = clock.after(delayMs, () => {
    signal?.removeEventListener('abort', onAbort);
    over();
  });
  signal?.addEventListener('abort', onAbort, { once: true });
}

/**
 * Waits for `work`, at most `budgetMs`; the work itself continues after that.
 *
 * @returns `undefined` if it is not done in time
 * @throws what `work` throws in time
 */
export async function within<T>(clock: Clock, budgetMs: number, work: Promise<T>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const disarm = clock.after(budgetMs, () => resolve(undefined));
  try {
    return await Promise.race([work, promise]);
  } finally {
    disarm();
  }
}

/**
 * Waits for `work`, unless `signal` aborts first; late work continues, and its failure is dropped.
 *
 * @returns `undefined` if it was aborted
 * @throws what `work` throws in time
 */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const abort = (): void => resolve(undefined);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, work]);
  } finally {
    signal.removeEventListener('abort', abort);
    work.catch(() => {});
  }
}
