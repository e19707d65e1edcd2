import { setImmediate } from 'node:timers/promises';

import type { Clock } from '../../kernel/clock.ts';

interface Timer {
  readonly dueAtMs: number;
  readonly fire: () => void;
}

/** A clock that moves only when told. Fires timers in due order; ties keep arming order. */
export class FakeClock implements Clock {
  /** Added to the wall clock alone, as when an operator sets the time. */
  wallJumpMs = 0;
  #nowMs = 0;
  readonly #timers = new Set<Timer>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Date.UTC(2026, 0, 1) + this.#nowMs + this.wallJumpMs;
  }

  after(delayMs: number, fire: () => void): () => void {
    const timer = { dueAtMs: this.#nowMs + Math.max(0, delayMs), fire };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Timers still armed. Tests assert that this is 0 when they end: a leaked timer is a process that does not end. */
  get armed(): number {
    return this.#timers.size;
  }

  /** Moves on without letting promises settle in between. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Advances and fires nothing, as after a pause of the process: due timers fire afterwards. */
  skip(ms: number): void {
    this.#nowMs += ms;
  }

  /** Moves on, and lets everything that follows from a timer happen before the next one fires. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    do await setImmediate();
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Runs everything that is due already, and nothing else. */
  settle(): Promise<void> {
    return this.pass(0);
  }

  /** Passes time until `done`, timer by timer, and fails once no armed timer could bring it about. */
  async passUntil(done: () => boolean, limitMs = 3_600_000): Promise<void> {
    const untilMs = this.#nowMs + limitMs;
    for (;;) {
      await setImmediate();
      if (done()) return;
      if (!this.#fireNext(untilMs)) throw new Error('Nothing is left that could bring it about');
    }
  }

  #fireNext(untilMs: number): boolean {
    let next: Timer | undefined;
    for (const timer of this.#timers)
      if (timer.dueAtMs <= untilMs && timer.dueAtMs < (next?.dueAtMs ?? Infinity)) next = timer;
    if (next === undefined) return false;
    this.#nowMs = Math.max(this.#nowMs, next.dueAtMs);
    this.#timers.delete(next);
    next.fire();
    return true;
  }
}
