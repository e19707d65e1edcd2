const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

const TERM = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy;

/**
 * Reads a duration as Kuma writes it: `30s`, `1m30s`, `1.5h`, `0`.
 *
 * @returns milliseconds, or `undefined` if `text` is not such a duration or is negative.
 * @see https://pkg.go.dev/time#ParseDuration
 */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim().replace(/^\+/, '');
  if (trimmed === '0') return 0;
  if (trimmed === '') return undefined;
  let totalMs = 0;
  TERM.lastIndex = 0;
  while (TERM.lastIndex < trimmed.length) {
    const term = TERM.exec(trimmed);
    if (term === null) return undefined;
    totalMs += Number(term[1]) * (UNIT_MS[term[2] ?? ''] ?? Number.NaN);
  }
  // Whole nanoseconds, as Go counts them: 1.001 s are 1,001 ms and not a bit less.
  return Math.round(totalMs * 1e6) / 1e6;
}

/** Writes milliseconds the way {@link parseDuration} reads them: `0s`, `500ms`, `2.25s`, `1m30s`, `1h`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return durationMs === 0 ? '0s' : `${trimZeros(durationMs)}ms`;
  const hours = Math.floor(durationMs / 3_600_000);
  const minutes = Math.floor((durationMs % 3_600_000) / 60_000);
  const seconds = (durationMs % 60_000) / 1_000;
  return [
    hours > 0 ? `${hours}h` : '',
    minutes > 0 ? `${minutes}m` : '',
    seconds > 0 ? `${trimZeros(seconds)}s` : '',
  ].join('');
}

function trimZeros(value: number): string {
  return String(Math.round(value * 1_000) / 1_000);
}
