import type { Clock } from '../../kernel/clock.ts';

/** How long to wait for a write in progress once another state is wanted. */
const GRACE_MS = 500;

export interface Grace {
  /** Aborts when the time is over. */
  readonly over: AbortSignal;
  /** Disarms it. */
  end(): void;
}

/** A write in progress cannot be called back. After `changed` has aborted, it gets a moment to be answered. */
export function graceAfter(clock: Clock, changed: AbortSignal | undefined): Grace {
  const over = new AbortController();
  let disarm: (() => void) | undefined;
  const onChange = (): void => {
    disarm = clock.after(GRACE_MS, () => {
      over.abort(changed?.reason);
    });
  };
  changed?.addEventListener('abort', onChange, { once: true });
  return {
    over: over.signal,
    end: () => {
      disarm?.();
      changed?.removeEventListener('abort', onChange);
    },
  };
}
