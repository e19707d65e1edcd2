import { isAborted } from '../../kernel/aborted.ts';
import { pause, type Clock } from '../../kernel/clock.ts';
import { withDeadline, type DeadlineScope } from '../../kernel/deadline.ts';
import { hasCode, OperationalError } from '../../kernel/errors.ts';
import { backoffMs } from '../../kernel/spread.ts';
import type { Endpoint } from '../ports.ts';

export interface HedgedCall<T> {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly endpoints: readonly Endpoint[];
  /** Imperative phrase for error messages. */
  readonly action: string;
  readonly scope: DeadlineScope;
  readonly attempt: (endpoint: Endpoint, signal: AbortSignal, budgetMs: number) => Promise<T>;
  /** Called with the failure of every attempt, in order. */
  readonly onFailure?: (error: unknown) => void;
}

export interface HedgedAnswer<T> {
  readonly value: T;
  readonly endpoint: string;
  /** Number of attempts at all endpoints. */
  readonly attempts: number;
}

/** How long an endpoint may be silent before the next one is asked in parallel. */
const HEDGE_AFTER_MS = 500;

/**
 * How long the first attempt at an endpoint may take. A silently dead connection costs this much before a fresh one is
 * tried, so it is shorter than kuma-dp's wait for a deregistration.
 */
const ATTEMPT_BUDGET_MS = 1_000;
/**
 * Each further attempt may take twice as long, up to this limit, so that a slow control plane is reached in the end.
 */
const ATTEMPT_CAP_MS = 4_000;

const RETRY = { baseMs: 100, capMs: 1_000 };

/**
 * Asks the endpoints in order, the next one as soon as one is slow or has failed, and retries each with full jitter as
 * long as its failures may pass. The first answer wins; everything else is abandoned.
 *
 * @throws the last failure once no endpoint is left to ask, or a `DATAPLANE_FOREIGN` at once: that is an answer
 */
export function firstAnswer<T>(call: HedgedCall<T>): Promise<HedgedAnswer<T>> {
  return new Promise((resolve, reject) => {
    new Race(call, resolve, reject).openLane(0);
  });
}

class Race<T> {
  readonly #call: HedgedCall<T>;
  readonly #resolve: (answer: HedgedAnswer<T>) => void;
  readonly #reject: (error: unknown) => void;
  readonly #over = new AbortController();
  #attempts = 0;
  #opened = 0;
  #running = 0;

  constructor(
    call: HedgedCall<T>,
    resolve: (answer: HedgedAnswer<T>) => void,
    reject: (error: unknown) => void,
  ) {
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
    call.scope.signal.addEventListener(
      'abort',
      () => {
        this.#end(() => {
          reject(call.scope.signal.reason);
        });
      },
      { once: true },
    );
  }

  /** Asks endpoint `at`, unless it was asked already or does not exist. */
  openLane(at: number): void {
    const endpoint = this.#call.endpoints[at];
    if (at !== this.#opened || endpoint === undefined || this.#over.signal.aborted) return;
    this.#opened += 1;
    this.#running += 1;
    const disarm = this.#call.clock.after(HEDGE_AFTER_MS, () => {
      this.openLane(at + 1);
    });
    this.#over.signal.addEventListener('abort', disarm, { once: true });
    void this.#ask(at, endpoint).then((error) => {
      disarm();
      this.#running -= 1;
      this.openLane(at + 1);
      if (this.#running === 0) this.#end(() => this.#reject(error));
    });
  }

  /** @returns the failure that ended the lane */
  async #ask(at: number, endpoint: Endpoint): Promise<unknown> {
    for (let tried = 0; ; tried += 1) {
      try {
        const value = await this.#attempt(endpoint, tried);
        this.#end(() => this.#resolve({ value, endpoint: endpoint.url, attempts: this.#attempts }));
        return undefined;
      } catch (error) {
        if (this.#over.signal.aborted) return error;
        this.#call.onFailure?.(error);
        if (hasCode(error, 'DATAPLANE_FOREIGN')) this.#end(() => this.#reject(error));
        if (!(error instanceof OperationalError) || !error.retryable) return error;
        this.openLane(at + 1);
        const pauseMs = this.#pauseMs(tried, error);
        if (pauseMs >= this.#call.scope.remainingMs()) return error;
        await pause(this.#call.clock, pauseMs, this.#over.signal);
        if (isAborted(this.#over.signal)) return error;
      }
    }
  }

  #attempt(endpoint: Endpoint, tried: number): Promise<T> {
    this.#attempts += 1;
    const { clock, scope, action, attempt } = this.#call;
    const budgetMs = Math.min(ATTEMPT_BUDGET_MS * 2 ** tried, ATTEMPT_CAP_MS, scope.remainingMs());
    return withDeadline(
      { clock, action: `${action} at ${endpoint.url}`, budgetMs, cancel: this.#over.signal },
      ({ signal }) => attempt(endpoint, signal, budgetMs),
    );
  }

  #pauseMs(tried: number, error: OperationalError): number {
    // The failed attempt took so long that no further pause is needed.
    if (error.code === 'DEADLINE_EXCEEDED') return 0;
    const askedMs = error.details['retryAfterMs'];
    return typeof askedMs === 'number' ? askedMs : backoffMs(tried, this.#call.random(), RETRY);
  }

  #end(settle: () => void): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort(
      new OperationalError(
        'CANCELLED',
        `Cancelled the attempt to ${this.#call.action}: another endpoint has answered`,
      ),
    );
    settle();
  }
}
