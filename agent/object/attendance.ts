import type { Clock } from '../../kernel/clock.ts';
import { spread } from '../../kernel/spread.ts';

export interface AttendanceDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/** Most companions are back before: then they put back what they have sidelined. */
const FIRST_LOOK_MS = 30_000;
/** Ten thousand agents without a companion then cost their control plane 33 requests a second. */
const LONGEST_PAUSE_MS = 300_000;

/** Whether a companion watches over this run, and when a run without one looks whether its object is still sidelined. */
export class Attendance {
  readonly #deps: AttendanceDeps;
  /** `never`: no companion is configured. */
  #companion: 'never' | 'attached' | 'away' = 'never';
  #looks = 0;
  #dueAtMs = 0;

  constructor(deps: AttendanceDeps) {
    this.#deps = deps;
  }

  /** Whether this run has to look by itself, now or later. */
  get isMissing(): boolean {
    return this.#companion === 'away' || (this.#companion === 'never' && this.#looks === 0);
  }

  get dueInMs(): number {
    return this.#dueAtMs - this.#deps.clock.monotonicMs();
  }

  /** @returns whether that is news */
  onCompanion(isAttached: boolean): boolean {
    const companion = isAttached ? 'attached' : 'away';
    if (companion === this.#companion) return false;
    this.#companion = companion;
    this.#looks = 0;
    this.#dueAtMs = this.#deps.clock.monotonicMs() + this.#pauseMs;
    return true;
  }

  /** The object is as it was. @returns after how many ms to look again; `undefined`: not at all */
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
