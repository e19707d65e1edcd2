import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Endpoint } from '../ports.ts';

export interface ZoneLookDeps {
  readonly clock: Clock;
  readonly endpoints: readonly Endpoint[];
  readonly key: DataplaneKey;
  /** Services of its inbounds. */
  readonly services: readonly string[];
  /** Whether a control plane was ever seen to answer at an endpoint. */
  readonly answeredOnce: (url: string) => boolean;
}

/** The settle time begins only when this is known, so it must be short. */
const SIBLINGS_BUDGET_MS = 500;
/** Below the shortest settle time: a control plane that has not answered by then has updated no peer. */
const ALIVE_BUDGET_MS = 1_500;
/** A companion looks for up to 2 s. */
const COMPANION_BUDGET_MS = 2_500;

const UNABLE = new Error('This endpoint knows of no siblings');

/** Facts about the zone that a stop needs; asked for once the object is gone. */
export class ZoneLook {
  readonly #deps: ZoneLookDeps;
  readonly #silent = new Set<string>();
  readonly #closed = new AbortController();

  constructor(deps: ZoneLookDeps) {
    this.#deps = deps;
  }

  /** Control planes that did not answer in this stop: their dataplanes keep sending. */
  get silent(): readonly string[] {
    return [...this.#silent];
  }

  /**
   * Whether no other ready dataplane of the zone has one of the services. Never throws. If it cannot be found out, the
   * answer is yes: that costs seconds and no request.
   */
  async isLastOfService(): Promise<boolean> {
    const { clock, endpoints, key, services } = this.#deps;
    const cancel = this.#closed.signal;
    if (services.length === 0) return false;
    const looks = endpoints.map((endpoint) =>
      withDeadline(
        { clock, action: `look for siblings at ${endpoint.url}`, budgetMs: SIBLINGS_BUDGET_MS, cancel },
        // Without an answer from this endpoint, the other endpoints decide.
        ({ signal }) => endpoint.isLastOfService?.(key, services, signal) ?? Promise.reject(UNABLE),
      ),
    );
    return Promise.any(looks).catch(() => true);
  }

  /** @param answered the endpoint that said that the object is gone */
  async findSilent(answered: string | undefined): Promise<void> {
    await Promise.all(this.#deps.endpoints.map((endpoint) => this.#ask(endpoint, answered)));
  }

  /** Called when the stop is over: ends all looks. */
  close(): void {
    this.#closed.abort(new Error('The stop is over'));
  }

  async #ask(endpoint: Endpoint, answered: string | undefined): Promise<void> {
    const { clock, key, answeredOnce } = this.#deps;
    const cancel = this.#closed.signal;
    const { url } = endpoint;
    if (endpoint.silentControlPlanes !== undefined) {
      const found = await withDeadline(
        { clock, action: `ask ${url} for silent control planes`, budgetMs: COMPANION_BUDGET_MS, cancel },
        ({ signal }) => endpoint.silentControlPlanes?.(key, signal) ?? Promise.resolve([]),
      ).catch(() => []);
      for (const silent of found) this.#silent.add(silent);
    } else if (url !== answered && answeredOnce(url)) {
      await withDeadline(
        { clock, action: `look whether ${url} answers`, budgetMs: ALIVE_BUDGET_MS, cancel },
        ({ signal }) => endpoint.check(key, signal),
      ).catch(() => {
        if (!cancel.aborted) this.#silent.add(url);
      });
    }
  }
}
