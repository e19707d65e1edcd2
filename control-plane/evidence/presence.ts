import { pause, type Clock } from '../../kernel/clock.ts';

const TICK_MS = 1_000;
/** A gap that is longer is a break: the process was stopped, or its machine suspended. */
const BREAK_MS = 5_000;

/**
 * Since when this process has watched without a break. After a break, what it has not seen is not what did not happen:
 * agents and streams may have come and gone meanwhile.
 *
 * Read whenever an age is needed: the first reader after a break finds it, before any timer that waited has run.
 */
export class Presence {
  readonly #clock: Clock;
  #sinceMs: number;
  #lastMs: number;
  #lastWallMs: number;
  #isTicking = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
    this.#lastMs = this.#sinceMs;
    this.#lastWallMs = clock.wallMs();
  }

  /** Begin of the unbroken watch, monotonic. */
  get sinceMs(): number {
    this.#look();
    return this.#sinceMs;
  }

  /** How long the watch has been unbroken, ms. */
  get unbrokenMs(): number {
    return this.#clock.monotonicMs() - this.sinceMs;
  }

  /** Until `signal` aborts. Before and after it, no gap is a break. */
  async run(signal: AbortSignal): Promise<void> {
    this.#tick();
    this.#isTicking = true;
    while (!signal.aborted) {
      await pause(this.#clock, TICK_MS, signal);
      this.#look();
      this.#tick();
    }
    this.#isTicking = false;
  }

  #tick(): void {
    this.#lastMs = this.#clock.monotonicMs();
    this.#lastWallMs = this.#clock.wallMs();
  }

  /** The monotonic clock stands still while a machine is suspended, the wall clock does not. */
  #look(): void {
    if (!this.#isTicking) return;
    const gapMs = Math.max(this.#clock.monotonicMs() - this.#lastMs, this.#clock.wallMs() - this.#lastWallMs);
    if (gapMs < BREAK_MS) return;
    this.#sinceMs = this.#clock.monotonicMs();
    this.#tick();
  }
}
