import type { Clock } from '../../kernel/clock.ts';

/** Longer than an agent pauses before it asks for its name again: 10 s, and 60 s spread by half in 0.1.0. */
const ASKING_MS = 180_000;
const REMEMBERED = 10_000;

/** Incarnations that asked for a name while another one had it: each was alive when it asked. */
export class TurnedAway {
  readonly #clock: Clock;
  /** When each asked last, monotonic ms; the oldest first. */
  readonly #askedAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note(incarnation: string): void {
    this.#askedAtMs.delete(incarnation);
    this.#askedAtMs.set(incarnation, this.#clock.monotonicMs());
    const [oldest] = this.#askedAtMs.keys();
    if (oldest !== undefined && this.#askedAtMs.size > REMEMBERED) this.#askedAtMs.delete(oldest);
  }

  isAsking(incarnation: string): boolean {
    const askedAtMs = this.#askedAtMs.get(incarnation);
    return askedAtMs !== undefined && this.#clock.monotonicMs() - askedAtMs < ASKING_MS;
  }
}
