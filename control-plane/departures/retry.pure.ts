import type { OperationalError } from '../../kernel/errors.ts';

const BASE_MS = 200;
const CAP_MS = 30_000;
/** A server that asks for more than this is not believed: peers still have the endpoint. */
const ASKED_CAP_MS = 300_000;

/**
 * How long to wait after a failed attempt, in ms: full jitter, doubling from 0.2 s to 30 s, so that a fleet that failed
 * together does not come back together. What the server asked for comes first, and is never undercut.
 *
 * @param attempts that were made before this one; 0 for the first
 * @param random uniform in [0, 1)
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function retryDelayMs(
  attempts: number,
  random: () => number,
  error?: Pick<OperationalError, 'details'>,
): number {
  const jitteredMs = random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.max(0, attempts));
  const askedMs = error?.details['retryAfterMs'];
  if (typeof askedMs !== 'number' || !(askedMs > 0)) return jitteredMs;
  return Math.min(ASKED_CAP_MS, askedMs) + jitteredMs;
}
