/** `ms` plus or minus a quarter, so that hosts that began together do not stay in step. @param random in [0, 1) */
export function spread(ms: number, random: number): number {
  return ms * (0.75 + random / 2);
}

/**
 * How long to wait after a failed attempt: full jitter below a ceiling that doubles. Hosts that failed together do not
 * come back together.
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
