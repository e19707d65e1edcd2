import { type ClientEnvoy, type ClientProtocol } from './client-envoy.ts';
import { waitUntil } from './wait-until.ts';

export interface EndpointChange {
  readonly endpoint: string;
  readonly kind: 'entered' | 'left';
  /** `performance.now()` of the look that noticed it. */
  readonly atMs: number;
}

const LOOK_EVERY_MS = 20;

/** Notes when endpoints enter and leave a client Envoy's list. */
export class EndpointWatcher implements AsyncDisposable {
  readonly changes: EndpointChange[] = [];
  readonly #client: ClientEnvoy;
  readonly #protocol: ClientProtocol;
  #known: ReadonlySet<string> = new Set();
  #watching = true;
  readonly #ended: Promise<void>;

  constructor(client: ClientEnvoy, protocol: ClientProtocol = 'http1') {
    this.#client = client;
    this.#protocol = protocol;
    this.#ended = this.#watch();
  }

  /** Endpoints at the last look. */
  get current(): readonly string[] {
    return [...this.#known];
  }

  /** Waits for a change at or after `sinceMs` (`performance.now()`); the past counts. */
  waitFor(
    kind: EndpointChange['kind'],
    endpoint: string,
    options: { readonly sinceMs?: number; readonly budgetMs?: number } = {},
  ): Promise<EndpointChange> {
    const { sinceMs = 0, budgetMs = 20_000 } = options;
    return waitUntil(
      () => this.changes.find((one) => one.kind === kind && one.endpoint === endpoint && one.atMs >= sinceMs),
      { what: `endpoint ${endpoint} to have ${kind}; known: ${this.current.join(' ')}`, budgetMs },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watching = false;
    await this.#ended;
  }

  async #watch(): Promise<void> {
    while (this.#watching) {
      await this.#look();
      await new Promise((elapsed) => setTimeout(elapsed, LOOK_EVERY_MS));
    }
  }

  async #look(): Promise<void> {
    let endpoints: readonly string[];
    try {
      endpoints = await this.#client.endpoints(this.#protocol);
    } catch {
      return;
    }
    const atMs = performance.now();
    const now = new Set(endpoints);
    for (const endpoint of now)
      if (!this.#known.has(endpoint)) this.changes.push({ endpoint, kind: 'entered', atMs });
    for (const endpoint of this.#known)
      if (!now.has(endpoint)) this.changes.push({ endpoint, kind: 'left', atMs });
    this.#known = now;
  }
}
