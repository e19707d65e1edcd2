import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';

/**
 * For how long this process may believe that it has a name to itself. Another caller gets the name only later:
 * that is what makes a process harmless that was paused.
 *
 * @param ms less than what the store grants
 * @returns throws `FENCE_LOST` once that is over, on whichever clock: the monotonic one stands still while a machine is
 * suspended, the wall clock does not
 */
export function lease(clock: Clock, ms: number): () => void {
  const startedMs = clock.monotonicMs();
  const startedWallMs = clock.wallMs();
  return () => {
    const heldMs = Math.max(clock.monotonicMs() - startedMs, clock.wallMs() - startedWallMs);
    if (heldMs < ms) return;
    throw new OperationalError(
      'FENCE_LOST',
      `Cannot delete: the lock on the name is ${Math.round(heldMs)} ms old and lasts ${ms} ms`,
      { details: { heldMs: Math.round(heldMs), leaseMs: ms } },
    );
  };
}
