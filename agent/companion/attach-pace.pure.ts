import { backoffMs } from '../../kernel/spread.ts';

/** Why a stream to a companion ended. */
export type AttachEnd = 'redirected' | 'superseded' | 'lost';

const RETRY = { baseMs: 200, capMs: 10_000 };
/** If the newer run was a mistake, this run gets its name back within seconds of its end. Each attempt is one call. */
const SUPERSEDED_RETRY = { baseMs: 2_000, capMs: 10_000 };
/** A stream of this length proves that the companion is well. */
const STEADY_MS = 10_000;

/**
 * How long to wait before the next attempt to attach, with full jitter: the agents of a restarted companion must not
 * come back all at once.
 *
 * @param failures attempts since a stream held, this one not counted
 * @param random in [0, 1)
 */
export function attachPauseMs(end: AttachEnd, failures: number, random: number): number {
  return backoffMs(failures, random, end === 'superseded' ? SUPERSEDED_RETRY : RETRY);
}

/** How many attempts have failed in a row, after one that lasted `lastedMs`. */
export function countFailures(failures: number, lastedMs: number): number {
  return lastedMs >= STEADY_MS ? 0 : failures + 1;
}
