import { backoffMs, spread } from '../../kernel/spread.ts';

/** Why a stream to a companion ended. */
export type AttachEnd = 'redirected' | 'superseded' | 'lost';

const RETRY = { baseMs: 200, capMs: 10_000 };
/** This run does not expect the name back. But if the newer run was a mistake, this run should notice its end. */
const SUPERSEDED_RETRY_MS = 60_000;
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
  if (end === 'superseded') return spread(SUPERSEDED_RETRY_MS, random);
  return backoffMs(failures, random, RETRY);
}

/** How many attempts have failed in a row, after one that lasted `lastedMs`. */
export function countFailures(failures: number, lastedMs: number): number {
  return lastedMs >= STEADY_MS ? 0 : failures + 1;
}
