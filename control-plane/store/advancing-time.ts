import type { Clock } from '../../kernel/clock.ts';

/**
 * Time that only the monotonic clock advances. It starts from the wall clock or the latest time ever recorded,
 * whichever is later: no time in the store is in the future, even if the wall clock was changed.
 *
 * @returns whole ms since the epoch
 */
export function advancingTime(clock: Clock, latestMs: number): () => number {
  const anchorMs = Math.max(clock.wallMs(), latestMs);
  const startedMs = clock.monotonicMs();
  return () => Math.floor(anchorMs + (clock.monotonicMs() - startedMs));
}

/**
 * Time that several processes read from one clock. After the first reading, this process's monotonic clock advances
 * it, whatever happens to that clock. Otherwise, after a clock was set back, earlier heartbeats would lie in the
 * future, and work that was put off for a second would wait for an hour.
 *
 * @returns a function that takes the latest known time, from the clock or from other processes' records, and returns
 * whole ms since the epoch, never less than before
 */
export function sharedTime(clock: Clock): (knownMs: number) => number {
  let latestMs = 0;
  let readMs = clock.monotonicMs();
  return (knownMs) => {
    const passedMs = clock.monotonicMs() - readMs;
    readMs += passedMs;
    latestMs = Math.max(latestMs + passedMs, knownMs);
    return Math.floor(latestMs);
  };
}
