import { pause, type Clock } from '../../kernel/clock.ts';

export interface OwnPaceDeps {
  readonly clock: Clock;
  /** Which share of the time since the last call this process was busy, from 0 to 1. */
  readonly busyShare: () => number;
}

const TICK_MS = 1_000;
/** Above this share, agents wait for this process, not the other way round. */
const BUSY = 0.75;
/** After a longer turn of the event loop an agent's ping may have gone unanswered: agents of 0.1.0 wait for 5 s. */
const LATE_MS = 4_000;
/** The effects of a late turn show within the interval and the timeout of the agents' pings. */
const AFTERMATH_MS = 15_000;

/**
 * How well this process keeps up. Before it counts silent agents as lost, it checks whether it was able to hear them:
 * on an overloaded host, ten thousand of them wait while its own clock runs.
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

  /** How long this process has been too busy to attach an agent, since it began, in ms. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Whether a recent turn of the event loop took so long that agents may have given up for that reason. */
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
