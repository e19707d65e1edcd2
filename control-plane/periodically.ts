import { pause, type Clock } from '../kernel/clock.ts';
import { OperationalError } from '../kernel/errors.ts';
import type { DeregistrarEvents } from './events.ts';

export interface PeriodicDeps {
  readonly clock: Clock;
  readonly events: Pick<DeregistrarEvents, 'failedUnexpectedly'>;
}

/**
 * Repeats `work` until `signal` aborts, with a pause of `everyMs` after each time. A failed run is repeated like any
 * other; a bug is logged as well.
 */
export async function periodically(
  { clock, events }: PeriodicDeps,
  work: () => Promise<void>,
  { everyMs, signal }: { readonly everyMs: number; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    await work().catch((error: unknown) => {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
    });
    await pause(clock, everyMs, signal);
  }
}

const AGAIN_MS = 1_000;

/**
 * Runs one part of the program until it returns or `signal` aborts. If the part fails, it begins again, and the others
 * run on: no error of a store or a control plane may end the process. A bug is logged as well.
 */
export async function keepRunning(
  { clock, events }: PeriodicDeps,
  part: { run(signal: AbortSignal): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await part.run(signal);
      return;
    } catch (error) {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
      if (signal.aborted) return;
      await pause(clock, AGAIN_MS, signal);
    }
  }
}
