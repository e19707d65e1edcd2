import type { Clock } from '../../kernel/clock.ts';

/**
 * Time that only the monotonic clock moves, from a start that the wall clock gives once. It goes on from the latest
 * time that was ever written down: nothing in the store is of the future, whatever somebody did to the wall clock.
 *
 * @returns whole ms since the epoch
 */
export function advancingTime(clock: Clock, latestMs: number): () => number {
  const anchorMs = Math.max(clock.wallMs(), latestMs);
  const startedMs = clock.monotonicMs();
  return () => Math.floor(anchorMs + (clock.monotonicMs() - startedMs));
}
