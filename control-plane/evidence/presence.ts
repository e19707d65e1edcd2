import { pause, type Clock } from '../../kernel/clock.ts';

const TICK_MS = 1_000;
/** A longer gap is a break: the process was stopped or its machine suspended. */
const BREAK_MS = 5_000;
/** After a gap of this length, messages may have waited as long as the gap. */
const LATE_MS = 2_000;
/** How long a paused process needs to read what came meanwhile. */
const BACKLOG_MS = 1_500;
/** The effects of a break show within the interval and the timeout of the agents' pings. */
const AFTERMATH_MS = 15_000;
/** Above this share, agents wait for this process, not the other way round. */
const BUSY = 0.75;

/**
 * How well this process keeps up, and since when it has watched without a break. What it did not see during a break may
 * have happened: agents and streams may have come and gone. And messages that it reads afterwards may have been sent
 * before. Read this whenever an age is needed: the first reader after a break finds it, before any waiting timer has run.
 */
export class Presence {
  readonly #clock: Clock;
  readonly #busyShare: () => number;
  #sinceMs: number;
  #freshMs: number;
  #lateMs = 0;
  #lastMs: number;
  #lastWallMs: number;
  /** When the timer last ran: a long turn of the event loop holds it up, however often this process is asked. */
  #tickMs: number;
  /** When it was last found that the timer ran late. */
  #brokeMs = Number.NEGATIVE_INFINITY;
  #busyMs = 0;
  #isTicking = false;

  /** @param busyShare which share of the time since its last call this process was busy, from 0 to 1 */
  constructor(clock: Clock, busyShare: () => number = () => 0) {
    this.#clock = clock;
    this.#busyShare = busyShare;
    this.#sinceMs = clock.monotonicMs();
    this.#freshMs = this.#sinceMs;
    this.#lastMs = this.#sinceMs;
    this.#tickMs = this.#sinceMs;
    this.#lastWallMs = clock.wallMs();
  }

  /** When the unbroken watch began, monotonic. */
  get sinceMs(): number {
    this.#look();
    return this.#sinceMs;
  }

  /** How long the watch has been unbroken, ms. */
  get unbrokenMs(): number {
    return this.#clock.monotonicMs() - this.sinceMs;
  }

  /** Messages read before this time may have been sent before the last gap */
  get freshMs(): number {
    this.#look();
    return this.#freshMs;
  }

  /** How long a message that is read now may have waited, ms; 0 while this process keeps up. */
  get lateMs(): number {
    return this.freshMs > this.#clock.monotonicMs() ? this.#lateMs : 0;
  }

  /** How long this process has been too busy to attach an agent, since it began, ms. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Whether a break was so recent that agents may have given up because of it. */
  get hadBreak(): boolean {
    this.#look();
    return this.#clock.monotonicMs() - this.#brokeMs < AFTERMATH_MS;
  }

  /** Until `signal` aborts. Before and after it, no gap is a break. */
  async run(signal: AbortSignal): Promise<void> {
    this.#busyShare();
    this.#tickMs = this.#clock.monotonicMs();
    this.#noteSeen();
    this.#isTicking = true;
    while (!signal.aborted) {
      await pause(this.#clock, TICK_MS, signal);
      this.#look();
      this.#tick();
    }
    this.#isTicking = false;
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    const passedMs = nowMs - this.#tickMs;
    this.#busyMs += this.#busyShare() >= BUSY ? passedMs : Math.max(0, passedMs - TICK_MS);
    this.#tickMs = nowMs;
    this.#noteSeen();
  }

  #noteSeen(): void {
    this.#lastMs = this.#clock.monotonicMs();
    this.#lastWallMs = this.#clock.wallMs();
  }

  /** The monotonic clock stands still while a machine is suspended, the wall clock does not. */
  #look(): void {
    if (!this.#isTicking) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#tickMs >= BREAK_MS) this.#brokeMs = nowMs;
    const gapMs = Math.max(nowMs - this.#lastMs, this.#clock.wallMs() - this.#lastWallMs);
    if (gapMs < LATE_MS) return;
    // Gaps add up: a message that waited through the first may wait through the second.
    this.#lateMs = gapMs + (this.#freshMs > this.#lastMs ? this.#lateMs : 0);
    this.#freshMs = nowMs + BACKLOG_MS;
    if (gapMs >= BREAK_MS) this.#sinceMs = nowMs;
    this.#noteSeen();
  }
}
