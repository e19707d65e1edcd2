import { setTimeout as delay } from 'node:timers/promises';

import { LoadGenerator, type LoadSummary } from '../world/load-generator.ts';
import { type LoadTarget } from '../world/load-requests.ts';
import { ClientSession } from '../world/session.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type Use } from './scenario.ts';

/** Above every wait of a stop. */
const PATIENCE_MS = 60_000;
const ESTABLISHED_BUDGET_MS = 30_000;
/** Requests in flight at the stop begin so long before it: long enough to have arrived. */
const LEAD_MS = 1_000;
const IN_FLIGHT = 3;
const SESSIONS = 2;

/** Who uses one dataplane in one run. */
export interface Users extends AsyncDisposable {
  /** Resolves when they use it without a failure. `served` says whether the dataplane itself has answered. */
  ready(served?: (summary: LoadSummary) => boolean): Promise<void>;
  /** Begins nothing new and waits for what is under way. */
  stop(): Promise<void>;
  readonly summary: LoadSummary;
  /** `performance.now()` when the first session was cut. */
  readonly cutAtMs: number | undefined;
}

export function startUsers(use: Use, target: LoadTarget): Users {
  return use.kind === 'session' ? new SessionUsers(target) : new RequestUsers(use, target);
}

class RequestUsers implements Users {
  readonly #use: Exclude<Use, { readonly kind: 'session' }>;
  readonly #load: LoadGenerator;

  constructor(use: Exclude<Use, { readonly kind: 'session' }>, target: LoadTarget) {
    this.#use = use;
    const fresh = use.kind === 'requests' ? use.fresh : undefined;
    this.#load = new LoadGenerator({
      target: {
        ...target,
        ...(fresh === undefined ? {} : { fresh }),
        ...(use.kind === 'in flight' ? { delayMs: use.takesMs } : {}),
      },
      ratePerSecond: use.kind === 'requests' ? 1_000 / use.everyMs : IN_FLIGHT * 10,
      timeoutMs: PATIENCE_MS,
      ...(use.kind === 'in flight' ? { limit: IN_FLIGHT } : {}),
    });
  }

  async ready(served: (summary: LoadSummary) => boolean = () => true): Promise<void> {
    if (this.#use.kind === 'in flight') {
      await delay(LEAD_MS);
      return;
    }
    await waitUntil(() => this.summary.succeeded >= 2 && served(this.summary), {
      what: () => `users to be served: ${JSON.stringify(this.summary)}`,
      budgetMs: ESTABLISHED_BUDGET_MS,
    });
    if (this.summary.failed > 0) throw new Error(`Failed before the stop: ${JSON.stringify(this.summary)}`);
  }

  async stop(): Promise<void> {
    await this.#load.stop();
  }

  get summary(): LoadSummary {
    return this.#load.summary();
  }

  readonly cutAtMs = undefined;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

class SessionUsers implements Users {
  readonly #sessions: readonly ClientSession[];

  constructor(target: LoadTarget) {
    this.#sessions = Array.from({ length: SESSIONS }, () => new ClientSession(target));
  }

  async ready(): Promise<void> {
    await waitUntil(() => this.#sessions.every(({ established }) => established), {
      what: 'sessions to be established',
      budgetMs: ESTABLISHED_BUDGET_MS,
    });
    if (this.cutAtMs !== undefined) throw new Error('A session was cut before the stop');
  }

  async stop(): Promise<void> {
    for (const session of this.#sessions) session[Symbol.dispose]();
    await Promise.resolve();
  }

  readonly summary: LoadSummary = {
    sent: 0,
    succeeded: 0,
    failed: 0,
    byInstance: {},
    byFailure: {},
    p50Ms: 0,
    p99Ms: 0,
    maxMs: 0,
  };

  get cutAtMs(): number | undefined {
    const cuts = this.#sessions.flatMap(({ cutAtMs }) => cutAtMs ?? []);
    return cuts.length === 0 ? undefined : Math.min(...cuts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
