import { pause, type Clock } from './clock.ts';

export interface PaceSettings {
  /** The pause between two turns of one key. */
  readonly everyMs: number;
  /** A turn comes after this time at the latest, however many wait. */
  readonly longestMs: number;
}

/** Gives each key its turns at a steady pace: the faster it asks, the longer it waits. */
export class Pace {
  readonly #clock: Clock;
  readonly #settings: PaceSettings;
  /** The time of each key's next turn, if that is in the future; the oldest keys first. */
  readonly #next = new Map<string, number>();

  constructor(clock: Clock, settings: PaceSettings) {
    this.#clock = clock;
    this.#settings = settings;
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#next.size;
  }

  async turn(key: string): Promise<void> {
    const { everyMs, longestMs } = this.#settings;
    const nowMs = this.#clock.monotonicMs();
    this.#forget(nowMs);
    const atMs = Math.min(Math.max(nowMs, this.#next.get(key) ?? 0), nowMs + longestMs);
    this.#next.delete(key);
    this.#next.set(key, atMs + everyMs);
    if (atMs > nowMs) await pause(this.#clock, atMs - nowMs);
  }

  #forget(nowMs: number): void {
    for (const [key, atMs] of this.#next) {
      if (atMs > nowMs) return;
      this.#next.delete(key);
    }
  }
}
