import { type PauseGate } from './gate.ts';
import { type Timers } from './timers.ts';

export interface CachedTicks<T> {
  readonly timers: Timers;
  readonly gate: PauseGate;
  /** How long the cache of the store answers before it is read anew; 0: there is none. */
  readonly cacheMs: number;
  readonly tickMs: number;
  readonly read: () => T;
  readonly act: (seen: T) => void;
}

/**
 * Kuma acts on most of its knowledge at ticks, by a cache of its store. Cache and tick run independently, so it
 * notices a change after 0 ms to the sum of both.
 */
export async function actOnCachedTicks<T>(ticks: CachedTicks<T>): Promise<void> {
  const { timers, gate, cacheMs, tickMs, read, act } = ticks;
  let cached = read();
  act(cached);
  timers.every(Math.max(1, tickMs), () => {
    if (gate.closed) return;
    if (cacheMs === 0) cached = read();
    act(cached);
  });
  if (cacheMs === 0) return;
  // Other readers fill Kuma's cache at any time: the phase of its expiry has nothing to do with that of the tick.
  await timers.sleep(Math.random() * cacheMs);
  timers.every(cacheMs, () => {
    if (!gate.closed) cached = read();
  });
}
