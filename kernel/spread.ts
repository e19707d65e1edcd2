/** `ms`, give or take a quarter, so that a fleet that began together does not go on together. @param random in [0, 1) */
export function spread(ms: number, random: number): number {
  return ms * (0.75 + random / 2);
}

/**
 * How long to wait after a failed attempt: full jitter below a ceiling that doubles, so that a fleet that failed together
 * does not come back together.
 *
 * @param failures before this one; 0 for the first
 * @param random in [0, 1)
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function backoffMs(
  failures: number,
  random: number,
  { baseMs, capMs }: { readonly baseMs: number; readonly capMs: number },
): number {
  return random * Math.min(capMs, baseMs * 2 ** Math.max(0, failures));
}
