import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';

/**
 * How long this process may assume that it has a name. Another caller gets the name only later, so a process that was
 * paused does no harm.
 *
 * @param ms less than the time that the store grants
 * @returns a check that throws `FENCE_LOST` once that time is over on either clock: the monotonic one stands still
 * while a machine is suspended, the wall clock does not
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
