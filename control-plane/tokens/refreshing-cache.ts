import type { Clock } from '../../kernel/clock.ts';

/** How long a failure is kept: not every caller asks a control plane that is down. */
const RETRY_MS = 2_000;

/** How long a caller waits for a refresh if there is an older answer. */
const PATIENCE_MS = 250;

export interface RefreshingCacheOptions<T> {
  readonly clock: Clock;
  readonly load: (key: string) => Promise<T>;
  /** How long an answer is good without asking again. */
  readonly freshMs: (value: T) => number;
  /** Whether an old answer is better than none. Others are dropped. */
  readonly lasts: (value: T) => boolean;
}

interface CacheEntry<T> {
  readonly value: T;
  readonly atMs: number;
}

/**
 * Answers that are refreshed after a while, with one request at a time for each. If that fails, the last answer stays
 * in use, however old: agents deregister just when a control plane restarts.
 */
export class RefreshingCache<T> {
  readonly #options: RefreshingCacheOptions<T>;
  readonly #entries = new Map<string, CacheEntry<T>>();
  readonly #failures = new Map<string, CacheEntry<unknown>>();
  readonly #loading = new Map<string, Promise<T>>();

  constructor(options: RefreshingCacheOptions<T>) {
    this.#options = options;
  }

  /** How many answers and failures are held. */
  get size(): number {
    return this.#entries.size + this.#failures.size;
  }

  /** Whether {@link get} would answer without waiting for a source that has never answered. */
  has(key: string): boolean {
    this.#forget();
    return this.#entries.has(key) || this.#failures.has(key) || this.#loading.has(key);
  }

  /** @throws what `load` threw, if there is no answer to fall back on */
  async get(key: string, maxAgeMs = Number.POSITIVE_INFINITY): Promise<T> {
    this.#forget();
    const held = this.#entries.get(key);
    if (held !== undefined && this.#age(held) < Math.min(maxAgeMs, this.#options.freshMs(held.value))) {
      return held.value;
    }
    const failed = this.#failures.get(key);
    if (failed !== undefined && held === undefined) throw failed.value;
    if (failed !== undefined && held !== undefined) return held.value;
    const loaded = this.#loading.get(key) ?? this.#load(key);
    return held === undefined ? loaded : this.#patiently(loaded, held.value);
  }

  #load(key: string): Promise<T> {
    const { clock, load } = this.#options;
    const loading = (async () => {
      try {
        const value = await load(key);
        this.#entries.set(key, { value, atMs: clock.monotonicMs() });
        return value;
      } catch (error) {
        this.#failures.set(key, { value: error, atMs: clock.monotonicMs() });
        throw error;
      } finally {
        this.#loading.delete(key);
      }
    })();
    this.#loading.set(key, loading);
    return loading;
  }

  async #patiently(loaded: Promise<T>, fallback: T): Promise<T> {
    const waited = Promise.withResolvers<T>();
    const disarm = this.#options.clock.after(PATIENCE_MS, () => {
      waited.resolve(fallback);
    });
    try {
      return await Promise.race([loaded.catch(() => fallback), waited.promise]);
    } finally {
      disarm();
    }
  }

  /** The companion's own keys come and go; strangers' keys must not pile up. */
  #forget(): void {
    const { freshMs, lasts } = this.#options;
    for (const [key, entry] of this.#entries) {
      if (!lasts(entry.value) && this.#age(entry) >= freshMs(entry.value)) this.#entries.delete(key);
    }
    for (const [key, failure] of this.#failures) {
      if (this.#age(failure) >= RETRY_MS) this.#failures.delete(key);
    }
  }

  #age({ atMs }: { readonly atMs: number }): number {
    return this.#options.clock.monotonicMs() - atMs;
  }
}
