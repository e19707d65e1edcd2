import type { Duration } from './gen/google/protobuf/duration.ts';

/** Milliseconds as the contract writes a time span. */
export function toWireDuration(ms: number): Duration {
  const seconds = Math.trunc(ms / 1_000);
  return { seconds, nanos: Math.round((ms - seconds * 1_000) * 1e6) };
}

/** In milliseconds. */
export function fromWireDuration({ seconds, nanos }: Duration): number {
  return seconds * 1_000 + nanos / 1e6;
}
