import type { Clock } from '../../kernel/clock.ts';

/** The control plane says whole seconds. */
const SLACK_MS = 2_000;
/** Longer than an answer may be under way. */
const LATE_MS = 30_000;

/**
 * The control plane's clock, as its answers say it. Ages that are measured by it are no older than the time since it was
 * last set ahead: a step of that clock delays what depends on an age, and never brings it forward.
 */
export class ControlPlaneClock {
  readonly #clock: Clock;
  #offsetMs: number | undefined;
  #steppedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** For how long that clock has not been set ahead, as this process saw it; unbounded if it never was. */
  get steadyMs(): number {
    return this.#clock.monotonicMs() - this.#steppedAtMs;
  }

  /** @param clockMs as an answer says it; `undefined` if it does not */
  note(clockMs: number | undefined): void {
    if (clockMs === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    const offsetMs = clockMs - nowMs;
    const knownMs = this.#offsetMs ?? offsetMs;
    if (offsetMs - knownMs > SLACK_MS) this.#steppedAtMs = nowMs;
    // A slow answer shows an earlier time, never a later one.
    if (offsetMs > knownMs || knownMs - offsetMs > LATE_MS) this.#offsetMs = offsetMs;
    else this.#offsetMs = knownMs;
  }
}
