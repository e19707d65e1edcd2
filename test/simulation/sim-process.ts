import type { Clock } from '../../kernel/clock.ts';
import type { Timeline } from './timeline.ts';

/**
 * A process of a simulation: it may be paused, suspended with its whole machine, or end between any two steps. Its clock
 * is its own. What it waits for when it ends never comes.
 */
export class SimProcess implements Clock {
  /** Runs when it ends, outside it. */
  onDeath: () => void = () => {};
  wallSkewMs = 0;
  isDead = false;
  readonly #timeline: Timeline;
  #pausedUntilMs = 0;
  /** For how long its machine was suspended: its monotonic clock did not see that. */
  #unseenMs = 0;
  #stepsToLive: number | undefined;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  get isPaused(): boolean {
    return this.#timeline.monotonicMs() < this.#pausedUntilMs;
  }

  monotonicMs(): number {
    return this.#timeline.monotonicMs() - this.#unseenMs;
  }

  wallMs(): number {
    return this.#timeline.wallMs() + this.wallSkewMs;
  }

  after(delayMs: number, fire: () => void): () => void {
    const dueMs = this.monotonicMs() + delayMs;
    let disarm: (() => void) | undefined;
    const wake = (): void => {
      if (this.isDead) return;
      const waitMs = Math.max(this.#pausedUntilMs - this.#timeline.monotonicMs(), dueMs - this.monotonicMs());
      if (waitMs > 0) disarm = this.#timeline.after(waitMs, wake);
      else fire();
    };
    disarm = this.#timeline.after(delayMs, wake);
    return () => {
      disarm?.();
    };
  }

  /** Nothing happens in it for so long. @param machine its monotonic clock stands still as well */
  pause(ms: number, machine = false): void {
    if (this.isPaused) return;
    this.#pausedUntilMs = this.#timeline.monotonicMs() + ms;
    if (machine) this.#unseenMs += ms;
  }

  /** Ends at the `steps`th step from now that leaves it. */
  dieIn(steps: number): void {
    this.#stepsToLive = steps;
  }

  die(): void {
    if (this.isDead) return;
    this.isDead = true;
    this.onDeath();
  }

  /** A step that leaves the process: goes on in it after `delayMs`, or never. @returns `undefined`: at once */
  step(delayMs = 0): Promise<void> | undefined {
    if (this.#stepsToLive !== undefined && (this.#stepsToLive -= 1) < 0) this.die();
    if (this.isDead) return new Promise<never>(() => {});
    if (delayMs === 0 && !this.isPaused) return undefined;
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }
}
