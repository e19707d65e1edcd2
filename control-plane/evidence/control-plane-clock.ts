import type { Clock } from '../../kernel/clock.ts';

/** The control plane says whole seconds, and an answer is under way for a moment. */
const SLACK_MS = 3_000;

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
    if (this.#offsetMs !== undefined && offsetMs - this.#offsetMs > SLACK_MS) this.#steppedAtMs = nowMs;
    this.#offsetMs = offsetMs;
  }
}
