import { setTimeout as delay } from 'node:timers/promises';

/** One REST or bootstrap request as it arrived. */
export interface SeenRequest {
  readonly server: 'http' | 'https' | 'dataplane';
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  readonly authorization: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Something that happened to a dataplane's connection or object. */
export interface LifecycleEvent {
  readonly kind:
    | 'started'
    | 'stopped'
    | 'stream-accepted'
    | 'stream-refused'
    | 'stream-closed'
    | 'registered'
    | 'deregistered'
    | 'leaked'
    | 'deleted'
    | 'health-changed'
    | 'published';
  /** `mesh/name` of the dataplane, or the name of the published service. */
  readonly subject: string;
  readonly atMs: number;
  readonly detail?: string;
}

const POLL_MS = 10;

/** Everything a control plane saw and did, in order, for tests to look at and wait for. Survives its restarts. */
export class Journal {
  readonly requests: SeenRequest[] = [];
  readonly events: LifecycleEvent[] = [];

  record(kind: LifecycleEvent['kind'], subject: string, detail?: string): void {
    this.events.push({ kind, subject, atMs: Date.now(), ...(detail === undefined ? {} : { detail }) });
  }

  /** Requests with this method whose path with query matches. */
  matching(method: string, path: RegExp): readonly SeenRequest[] {
    return this.requests.filter((request) => request.method === method && path.test(request.path));
  }

  /** Whether a text, for example a token, was in any REST request: its path, headers or body. */
  sawInRest(text: string): boolean {
    return this.requests.some(
      ({ server, ...request }) => server !== 'dataplane' && JSON.stringify(request).includes(text),
    );
  }

  /** @throws Error if no such event, past or future, is there within `budgetMs` */
  async waitForEvent(
    wanted: (event: LifecycleEvent) => boolean,
    options: { readonly budgetMs?: number; readonly from?: number } = {},
  ): Promise<LifecycleEvent> {
    const { budgetMs = 20_000, from = 0 } = options;
    const expiresAt = performance.now() + budgetMs;
    for (;;) {
      const found = this.events.slice(from).find((event) => wanted(event));
      if (found !== undefined) return found;
      if (performance.now() > expiresAt) {
        const seen = this.events.slice(from).map(({ kind, subject }) => `${kind} ${subject}`);
        throw new Error(`No such event within ${budgetMs} ms; seen: ${seen.join(', ') || 'none'}`);
      }
      await delay(POLL_MS);
    }
  }
}
