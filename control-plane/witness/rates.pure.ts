/** This many a second on average, and at most `burst` at once. Times are monotonic, in ms. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  level: number;
  atMs: number;
}

/** Rule 12 of a lost host, on the companion's side. */
export const RATES = {
  /** Looks that one agent is asked for. */
  witness: { perSecond: 20, burst: 64 },
  /** Looks at one address. */
  address: { perSecond: 10, burst: 10 },
  /** Rounds about one dataplane. */
  suspect: { perSecond: 0.5, burst: 30 },
  zoneSuspects: { perSecond: 2_000, burst: 2_000 },
  zoneAcquaintances: { perSecond: 100, burst: 100 },
} as const satisfies Record<string, Rate>;

/** How often the companion may ask, by name. */
export class Rates {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** @returns `false` if that is too many now; then nothing is taken */
  take(name: string, count: number, nowMs: number): boolean {
    const bucket = this.#bucketAt(name, nowMs);
    if (bucket.level < count) return false;
    bucket.level -= count;
    return true;
  }

  /** Drops budgets that are full again. */
  prune(nowMs: number): void {
    for (const name of this.#buckets.keys())
      if (this.#bucketAt(name, nowMs).level >= this.#rate.burst) this.#buckets.delete(name);
  }

  #bucketAt(name: string, nowMs: number): Bucket {
    const { perSecond, burst } = this.#rate;
    const bucket = this.#buckets.get(name) ?? { level: burst, atMs: nowMs };
    bucket.level = Math.min(burst, bucket.level + ((nowMs - bucket.atMs) / 1_000) * perSecond);
    bucket.atMs = nowMs;
    this.#buckets.set(name, bucket);
    return bucket;
  }
}
