import type { OperationalError } from '../../kernel/errors.ts';
import { backoffMs } from '../../kernel/spread.ts';

const RETRY = { baseMs: 200, capMs: 30_000 };
/** The longest `Retry-After` that is honoured: peers still have the endpoint. */
const ASKED_CAP_MS = 300_000;

/**
 * How long to wait after a failed attempt, in ms: doubling from 0.2 s to 30 s, and never less than the server asked
 * for.
 *
 * @param attempts that were made before this one; 0 for the first
 * @param random uniform in [0, 1)
 */
export function retryDelayMs(
  attempts: number,
  random: () => number,
  error?: Pick<OperationalError, 'details'>,
): number {
  const jitteredMs = backoffMs(attempts, random(), RETRY);
  const askedMs = error?.details['retryAfterMs'];
  if (typeof askedMs !== 'number' || !(askedMs > 0)) return jitteredMs;
  return Math.min(ASKED_CAP_MS, askedMs) + jitteredMs;
}
