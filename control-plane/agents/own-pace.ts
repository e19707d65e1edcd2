import { pause, type Clock } from '../../kernel/clock.ts';

export interface OwnPaceDeps {
  readonly clock: Clock;
  /** Which share of the time since the last call this process was busy, from 0 to 1. */
  readonly busyShare: () => number;
}

const TICK_MS = 1_000;
/** Above that, agents wait for this process, and not the other way round. */
const BUSY = 0.75;
/** A turn of the event loop that takes longer may let an agent's ping go unanswered: agents of 0.1.0 wait for 5 s. */
const LATE_MS = 4_000;
/** What a late turn did to agents shows within the interval and the timeout of their pings. */
const AFTERMATH_MS = 15_000;

/**
 * How well this process itself keeps up. Before it takes agents for lost that it has not heard, it asks whether it was
 * there to hear them: on an overloaded host, ten thousand of them wait while its own clock goes on.
 */
export class OwnPace {
  readonly #deps: OwnPaceDeps;
  #lastMs: number;
  #lateAtMs = Number.NEGATIVE_INFINITY;
  #busyMs = 0;
  #isTicking = false;

  constructor(deps: OwnPaceDeps) {
    this.#deps = deps;
    this.#lastMs = deps.clock.monotonicMs();
  }

  /** How long this process could not have taken an agent in, since it began, in ms. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Whether a turn of the event loop has taken so long lately that agents may have given up because of it. */
  get wasLate(): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    const overdueMs = this.#isTicking ? nowMs - this.#lastMs - TICK_MS : 0;
    return overdueMs >= LATE_MS || nowMs - this.#lateAtMs < AFTERMATH_MS;
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#lastMs = this.#deps.clock.monotonicMs();
    this.#deps.busyShare();
    this.#isTicking = true;
    while (!signal.aborted) {
      await pause(this.#deps.clock, TICK_MS, signal);
      this.#tick();
    }
    this.#isTicking = false;
  }

  #tick(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const passedMs = nowMs - this.#lastMs;
    const isBusy = this.#deps.busyShare() >= BUSY;
    this.#lastMs = nowMs;
    this.#busyMs += isBusy ? passedMs : Math.max(0, passedMs - TICK_MS);
    if (passedMs - TICK_MS >= LATE_MS) this.#lateAtMs = nowMs;
  }
}
