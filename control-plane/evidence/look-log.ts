import type { Clock } from '../../kernel/clock.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import { lookTrace } from './guards.pure.ts';

interface Entry {
  readonly trace: string;
  readonly sinceMs: number;
  lastMs: number;
}

/** What nobody has looked at for so long is forgotten: longer than the longest pause between two looks. */
const FORGET_AFTER_MS = 120_000;

/** Since when this process has seen an object the same, by its own monotonic clock: no other clock is believed here. */
export class LookLog {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @returns for how long it has looked like this, ms; 0 for a first look */
  note(overview: DataplaneOverview): number {
    const nowMs = this.#clock.monotonicMs();
    const name = describeKey(keyOf(overview));
    const trace = lookTrace(overview);
    const known = this.#entries.get(name);
    if (known?.trace !== trace) {
      this.#entries.set(name, { trace, sinceMs: nowMs, lastMs: nowMs });
      return 0;
    }
    known.lastMs = nowMs;
    return nowMs - known.sinceMs;
  }

  /** Forgets what has not been looked at lately. */
  prune(): void {
    const beforeMs = this.#clock.monotonicMs() - FORGET_AFTER_MS;
    for (const [name, { lastMs }] of this.#entries) if (lastMs < beforeMs) this.#entries.delete(name);
  }
}
