import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { waitUntil } from './world/wait-until.ts';

/** What `test/fixtures/children/child.cjs` does. It reads this from `CHILD_PLAN`. */
export interface ChildPlan {
  /**
   * `obedient`: ends at the first TERM, INT or HUP. `kuma`: kuma-dp's own contract; the first TERM drains, the second
   * ends, the third is abrupt, USR2 drains and stays, QUIT ends with 2. `ignores`: takes notice only.
   */
  readonly contract?: 'obedient' | 'kuma' | 'ignores';
  /** How it ends; with code 0 if left out. */
  readonly exit?: { readonly code: number } | { readonly signal: NodeJS.Signals };
  /** From its announcement to its end. */
  readonly exitDelayMs?: number;
  /** Of the contract `kuma`: how long it drains if nothing shortens it. */
  readonly drainMs?: number;
  /** Ends by itself so long after it was ready. */
  readonly exitAfterMs?: number;
  /** Starts a stand-in for Envoy, with an admin interface or with a bootstrap that names none. */
  readonly envoy?: 'admin' | 'hidden';
  /** The control plane gives Envoy no configuration. */
  readonly refused?: true;
  /** Envoy says that a request is in progress, until so long after the first stop signal. */
  readonly busyMs?: number;
  /** The ports on which Envoy's admin reports listeners, so long after the start. */
  readonly listensOn?: readonly number[];
  readonly listensAfterMs?: number;
  /** The port on which it reports whether it is terminating, as kuma-dp does. */
  readonly readinessPort?: number;
  /** A process without a parent that waits for it, in its own session or not. */
  readonly forks?: 'grandchild' | 'daemon';
  readonly grandchildMs?: number;
}

export interface ChildEvent {
  readonly event: 'ready' | 'signal' | 'exiting' | 'envoy-seen' | 'forked' | 'asked';
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  readonly signal?: NodeJS.Signals;
  /** How many of this signal so far. */
  readonly count?: number;
  readonly code?: number;
  readonly pid?: number;
}

/** The lines that one child wrote, in order. */
export class ChildLog {
  readonly #file: string;

  constructor(workDir: string) {
    this.#file = join(workDir, 'child.log');
  }

  /** Of the child that was ready last. */
  get pid(): number {
    const pid = this.seen('ready').at(-1)?.pid;
    if (pid === undefined) throw new Error('No child has been ready');
    return pid;
  }

  /** The variable that tells the child its plan. */
  environment(plan: ChildPlan, workDir: string): Record<string, string> {
    return { CHILD_PLAN: JSON.stringify({ ...plan, logFile: this.#file, workDir }) };
  }

  get events(): readonly ChildEvent[] {
    try {
      return readFileSync(this.#file, 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as ChildEvent);
    } catch {
      return [];
    }
  }

  seen(event: ChildEvent['event']): readonly ChildEvent[] {
    return this.events.filter((entry) => entry.event === event);
  }

  signals(signal: NodeJS.Signals): readonly ChildEvent[] {
    return this.seen('signal').filter((entry) => entry.signal === signal);
  }

  async waitFor(event: ChildEvent['event'], budgetMs = 20_000, count = 1): Promise<ChildEvent> {
    return waitUntil(() => this.seen(event)[count - 1], {
      what: `the child's ${event} (${count})`,
      budgetMs,
    });
  }

  async waitForSignal(signal: NodeJS.Signals, count = 1, budgetMs = 20_000): Promise<ChildEvent> {
    return waitUntil(() => this.signals(signal)[count - 1], {
      what: `${signal} (${count}) at the child`,
      budgetMs,
    });
  }
}
