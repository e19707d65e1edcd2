import type { Clock } from '../../kernel/clock.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import { lookTrace } from './guards.pure.ts';
import type { Presence } from './presence.ts';

interface LookEntry {
  readonly trace: string;
  readonly sinceMs: number;
  lastMs: number;
}

/** How long the companion remembers a look: longer than the longest pause between two. */
const FORGET_AFTER_MS = 120_000;

/** Identifies a departure of a name: its epoch, and since when it has been in its state. */
type Case = Pick<DataplaneRecord, 'key' | 'epoch' | 'state' | 'sinceMs'>;

/**
 * Since when this process has seen an object, and the record of its departure, unchanged: by its own monotonic clock,
 * and without a break. No other clock counts here.
 */
export class LookLog {
  readonly #clock: Clock;
  readonly #presence: Presence;
  readonly #entries = new Map<string, LookEntry>();
  readonly #cases = new Map<string, LookEntry>();

  constructor(clock: Clock, presence: Presence) {
    this.#clock = clock;
    this.#presence = presence;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * @param departure the reason of the look; left out by a sweep, which has no record yet
   * @returns for how long it has looked like this, ms; 0 for a first look
   */
  note(overview: DataplaneOverview, departure?: Case): number {
    const seen = this.#note(this.#entries, describeKey(keyOf(overview)), lookTrace(overview));
    // A look from before the loss is no evidence of the time after it.
    return departure === undefined || departure.state === 'swept'
      ? seen
      : Math.min(seen, this.pendingMs(departure));
  }

  /** For how long this process has known of this departure, ms; 0 for the first time. */
  pendingMs(departure: Case): number {
    const { key, epoch, state, sinceMs } = departure;
    return this.#note(this.#cases, describeKey(key), `${epoch} ${state} ${sinceMs}`);
  }

  /** Drops entries without a recent look. */
  prune(): void {
    const beforeMs = this.#clock.monotonicMs() - FORGET_AFTER_MS;
    for (const entries of [this.#entries, this.#cases])
      for (const [name, { lastMs }] of entries) if (lastMs < beforeMs) entries.delete(name);
  }

  #note(entries: Map<string, LookEntry>, name: string, trace: string): number {
    const nowMs = this.#clock.monotonicMs();
    const known = entries.get(name);
    if (known?.trace !== trace) {
      entries.set(name, { trace, sinceMs: nowMs, lastMs: nowMs });
      return 0;
    }
    known.lastMs = nowMs;
    return nowMs - Math.max(known.sinceMs, this.#presence.sinceMs);
  }
}
