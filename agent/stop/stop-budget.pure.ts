/** Durations that a stop would like to have, all in milliseconds. */
export interface StopWishes {
  /** How long kuma-dp waits for the deregistration. */
  readonly deregisterMs: number;
  /** From kuma-dp's second signal to its end: it gives Envoy 5 s before SIGKILL. */
  readonly exitMs: number;
  /** The check whether the object was created again meanwhile. */
  readonly confirmMs: number;
}

/** The deadlines of the steps of one stop, on the monotonic clock. */
export interface StopDeadlines {
  readonly startedAtMs: number;
  /** kuma-dp waits no longer for the deregistration, which continues while it drains. */
  readonly deregisterByMs: number;
  /** Settle and drain share what lies before this. */
  readonly waitsEndAtMs: number;
  /** kuma-dp is killed if it still lives. */
  readonly killAtMs: number;
  readonly endsAtMs: number;
}

/**
 * A deregistration takes milliseconds, or a second if the first attempt meets a silently dead connection. A longer one
 * continues while kuma-dp drains. A stop whose attempts all fail takes at most two seconds longer than kuma-dp alone;
 * this is the largest part of them.
 */
export const STOP_WISHES: StopWishes = { deregisterMs: 1_200, exitMs: 6_000, confirmMs: 2_000 };

/** How long the last attempt to deregister may outlive kuma-dp. */
export const LAST_ATTEMPT_MS = 300;

/** When kuma-dp died by itself there is nothing to drain, and a service manager waits to start it again. */
const CRASH_BUDGET_MS = 3_000;
const CRASH_WISHES: StopWishes = { ...STOP_WISHES, deregisterMs: 700 };

/** The deadlines after the end of a kuma-dp that was not asked to stop. */
export function crashDeadlines(endedAtMs: number): StopDeadlines {
  return divideBudget(endedAtMs, CRASH_BUDGET_MS, CRASH_WISHES);
}

/** The time above the budget that a supervisor has to grant: for the last log lines and the exit itself. */
export const LAST_WORDS_MS = 1_000;

/**
 * The largest share of the budget that a step may reserve. When the budget is smaller than the steps need, the drain
 * shrinks first, then settle; confirm, exit and the deregistration keep these shares, so none is ever dropped.
 */
const SHARES = { deregister: 0.5, exit: 0.25, confirm: 0.05 } as const;

/** Divides one total budget: reserves are cut from its end, so that no step can starve a later one. */
export function divideBudget(
  startedAtMs: number,
  budgetMs: number,
  wishes: StopWishes = STOP_WISHES,
): StopDeadlines {
  const confirmMs = Math.min(wishes.confirmMs, budgetMs * SHARES.confirm);
  const exitMs = Math.min(wishes.exitMs, budgetMs * SHARES.exit);
  const deregisterMs = Math.min(wishes.deregisterMs, budgetMs * SHARES.deregister);
  const endsAtMs = startedAtMs + budgetMs;
  const killAtMs = endsAtMs - confirmMs;
  return {
    startedAtMs,
    deregisterByMs: startedAtMs + deregisterMs,
    waitsEndAtMs: killAtMs - exitMs,
    killAtMs,
    endsAtMs,
  };
}
