import type { Clock } from '../../kernel/clock.ts';

/** How long a write that is under way is waited for once something else is wanted. */
const GRACE_MS = 500;

export interface Grace {
  /** Aborts when the time is over. */
  readonly over: AbortSignal;
  /** Disarms it. */
  end(): void;
}

/** A write that is under way cannot be called back: it has a moment to be answered once `changed` has aborted. */
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
