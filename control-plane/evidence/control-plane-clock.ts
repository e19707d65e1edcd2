import type { Clock } from '../../kernel/clock.ts';

/** The control plane says whole seconds. */
const SLACK_MS = 2_000;
/** Longer than an answer may take. */
const LATE_MS = 30_000;

/**
 * The control plane's clock, from its answers. Ages by it are never longer than the time since it was last set ahead: a
 * step of that clock delays a decision that depends on an age, and never hastens it.
 */
export class ControlPlaneClock {
  readonly #clock: Clock;
  #offsetMs: number | undefined;
  #steppedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The time since this process last saw that clock being set ahead; unbounded if it never did. */
  get steadyMs(): number {
    return this.#clock.monotonicMs() - this.#steppedAtMs;
  }

  /** @param clockMs from an answer; `undefined` if it has none */
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
