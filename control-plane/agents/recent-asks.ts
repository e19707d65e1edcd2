import type { Clock } from '../../kernel/clock.ts';

const REMEMBERED = 10_000;

/** Names or incarnations whose agents asked to attach: each was alive when it asked. Forgets the oldest of too many. */
export class RecentAsks {
  readonly #clock: Clock;
  readonly #withinMs: number;
  /** When each asked last, monotonic ms; the oldest first. */
  readonly #askedAtMs = new Map<string, number>();

  constructor(clock: Clock, withinMs: number) {
    this.#clock = clock;
    this.#withinMs = withinMs;
  }

  note(asker: string): void {
    this.#askedAtMs.delete(asker);
    this.#askedAtMs.set(asker, this.#clock.monotonicMs());
    const [oldest] = this.#askedAtMs.keys();
    if (oldest !== undefined && this.#askedAtMs.size > REMEMBERED) this.#askedAtMs.delete(oldest);
  }

  forget(asker: string): void {
    this.#askedAtMs.delete(asker);
  }

  has(asker: string): boolean {
    const askedAtMs = this.#askedAtMs.get(asker);
    return askedAtMs !== undefined && this.#clock.monotonicMs() - askedAtMs < this.#withinMs;
  }
}
