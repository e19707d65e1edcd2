import { type LoadTarget, type Sender, senderFor } from './load-requests.ts';
import { waitUntil } from './wait-until.ts';

export interface LoadOptions {
  readonly target: LoadTarget;
  readonly ratePerSecond: number;
  /** A request without a complete answer by then has failed. */
  readonly timeoutMs?: number;
  /** Sends no more than this in all. */
  readonly limit?: number;
}

export interface LoadResult {
  /** `performance.now()` */
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** The instance that answered; `undefined` if the request failed. */
  readonly instance: string | undefined;
  /** Why it failed; `undefined` if it succeeded. */
  readonly failure: string | undefined;
}

export interface LoadSummary {
  readonly sent: number;
  readonly succeeded: number;
  readonly failed: number;
  /** How many answers each instance gave. */
  readonly byInstance: Readonly<Record<string, number>>;
  /** How often each reason of failure occurred. */
  readonly byFailure: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** Sends requests at a constant rate, however long the answers take, and records each result. */
export class LoadGenerator implements AsyncDisposable {
  readonly results: LoadResult[] = [];
  readonly #sender: Sender;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  readonly #limit: number;
  readonly #startedAtMs = performance.now();
  readonly #inFlight = new Set<Promise<void>>();
  #sent = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor({ target, ratePerSecond, timeoutMs = DEFAULT_TIMEOUT_MS, limit }: LoadOptions) {
    this.#sender = senderFor(target);
    this.#intervalMs = 1_000 / ratePerSecond;
    this.#timeoutMs = timeoutMs;
    this.#limit = limit ?? Number.POSITIVE_INFINITY;
    this.#schedule();
  }

  /** Waits until so many requests that started at or after `sinceMs` (now, if left out) have succeeded. */
  async waitForSuccesses(
    count: number,
    options: { sinceMs?: number; budgetMs?: number } = {},
  ): Promise<void> {
    const { sinceMs = performance.now(), budgetMs = 20_000 } = options;
    await waitUntil(() => this.summary(sinceMs).succeeded >= count, {
      what: `${count} successful requests`,
      budgetMs,
    });
  }

  /** Of the requests that started at or after `sinceMs` and before `untilMs` and have ended. */
  summary(sinceMs = 0, untilMs = Number.POSITIVE_INFINITY): LoadSummary {
    const results = this.results.filter(({ startedAtMs }) => startedAtMs >= sinceMs && startedAtMs < untilMs);
    const durations = results.map(({ durationMs }) => durationMs).toSorted((a, b) => a - b);
    const quantile = (share: number): number => durations[Math.ceil(durations.length * share) - 1] ?? 0;
    const failed = results.filter(({ failure }) => failure !== undefined).length;
    return {
      sent: results.length,
      succeeded: results.length - failed,
      failed,
      byInstance: countBy(results.map(({ instance }) => instance)),
      byFailure: countBy(results.map(({ failure }) => failure)),
      p50Ms: quantile(0.5),
      p99Ms: quantile(0.99),
      maxMs: quantile(1),
    };
  }

  /** Sends no more and waits for requests in flight. */
  async stop(): Promise<LoadSummary> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await Promise.all(this.#inFlight);
    this.#sender.close();
    return this.summary();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Due times are multiples of the interval since the start: a late timer does not lower the rate. */
  #schedule(): void {
    const dueAtMs = this.#startedAtMs + this.#sent * this.#intervalMs;
    this.#timer = setTimeout(
      () => {
        while (!this.#done && performance.now() >= this.#startedAtMs + this.#sent * this.#intervalMs) {
          this.#sent += 1;
          const request = this.#send();
          this.#inFlight.add(request);
          void request.then(() => this.#inFlight.delete(request));
        }
        if (!this.#done) this.#schedule();
      },
      Math.max(0, dueAtMs - performance.now()),
    );
  }

  get #done(): boolean {
    return this.#stopped || this.#sent >= this.#limit;
  }

  async #send(): Promise<void> {
    const startedAtMs = performance.now();
    const controller = new AbortController();
    const timer = setTimeout(() => {
      controller.abort(new Error(`no answer within ${this.#timeoutMs} ms`));
    }, this.#timeoutMs);
    let instance: string | undefined;
    let failure: string | undefined;
    try {
      ({ instance } = await this.#sender.send(controller.signal));
    } catch (error) {
      failure = describe(controller.signal.aborted ? controller.signal.reason : error);
    }
    clearTimeout(timer);
    this.results.push({ startedAtMs, durationMs: performance.now() - startedAtMs, instance, failure });
  }
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

function countBy(values: readonly (string | undefined)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) if (value !== undefined) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
