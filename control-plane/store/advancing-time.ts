import type { Clock } from '../../kernel/clock.ts';

/**
 * Time that only the monotonic clock moves, from a start that the wall clock gives once. It goes on from the latest
 * time that was ever written down: no time in the store is in the future, even if the wall clock was changed.
 *
 * @returns whole ms since the epoch
 */
export function advancingTime(clock: Clock, latestMs: number): () => number {
  const anchorMs = Math.max(clock.wallMs(), latestMs);
  const startedMs = clock.monotonicMs();
  return () => Math.floor(anchorMs + (clock.monotonicMs() - startedMs));
}

/**
 * Time that several processes read from one clock: once it was read it goes on by the monotonic clock of this process,
 * whatever happens to the clock. One that is set back would make every heartbeat of before look like one of the
 * future, and what was put off for a second wait for an hour.
 *
 * @returns takes the latest time that is known now, from the clock or from what others wrote down; whole ms since the
 * epoch, never less than before
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
