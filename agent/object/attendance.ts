import type { Clock } from '../../kernel/clock.ts';
import { spread } from '../../kernel/spread.ts';

export interface AttendanceDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/** Most companions are back before this time, and then put back what they have sidelined. */
const FIRST_LOOK_MS = 30_000;
/** At this interval ten thousand agents without a companion cost their control plane 33 requests a second. */
const LONGEST_PAUSE_MS = 300_000;

/** Whether a companion watches over this run. A run without one looks whether its object is still sidelined. */
export class Attendance {
  readonly #deps: AttendanceDeps;
  /** `never`: no companion is configured. */
  #companion: 'never' | 'attached' | 'away' = 'never';
  #looks = 0;
  #dueAtMs = 0;

  constructor(deps: AttendanceDeps) {
    this.#deps = deps;
  }

  /** Whether this run itself has to look, now or later. */
  get isMissing(): boolean {
    return this.#companion === 'away' || (this.#companion === 'never' && this.#looks === 0);
  }

  get dueInMs(): number {
    return this.#dueAtMs - this.#deps.clock.monotonicMs();
  }

  /** @returns whether that has changed */
  onCompanion(isAttached: boolean): boolean {
    const companion = isAttached ? 'attached' : 'away';
    if (companion === this.#companion) return false;
    this.#companion = companion;
    this.#looks = 0;
    this.#dueAtMs = this.#deps.clock.monotonicMs() + this.#pauseMs;
    return true;
  }

  /**
   * Called after a look that changed nothing.
   *
   * @returns after how many ms to look again; `undefined`: not at all
   */
  onLooked(): number | undefined {
    this.#looks += 1;
    return this.isMissing ? this.onFailed() : undefined;
  }

  /** @returns after how many ms to look again */
  onFailed(): number {
    const pauseMs = this.#pauseMs;
    this.#dueAtMs = this.#deps.clock.monotonicMs() + pauseMs;
    return pauseMs;
  }

  get #pauseMs(): number {
    const { random } = this.#deps;
    return spread(Math.min(LONGEST_PAUSE_MS, FIRST_LOOK_MS * 2 ** Math.min(this.#looks, 10)), random());
  }
}
