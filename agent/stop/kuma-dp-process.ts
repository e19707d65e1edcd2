import { pause, type Clock } from '../../kernel/clock.ts';
import type { Effect } from './phases.pure.ts';
import type { SignalName } from '../child/exit-status.pure.ts';
import type { Child, KumaDpReadiness } from '../ports.ts';

type Stage = Extract<Effect, { type: 'tell-child' }>['stage'];

/**
 * kuma-dp takes two signals that arrive together for one, because the kernel merges pending ones. The second ends its
 * drain, so it must not get lost.
 */
const BETWEEN_SIGNALS_MS = 250;

export interface KumaDpProcessDeps {
  readonly clock: Clock;
  readonly readiness: Promise<KumaDpReadiness>;
  /** Settles when the process has ended: after that, nothing waits to signal it. */
  readonly ended: Promise<unknown>;
}

/**
 * kuma-dp's signal contract: the first SIGTERM drains, the second ends, SIGUSR2 drains and stays.
 *
 * @see kuma app/kuma-dp/cmd/run.go, pkg/core/alias.go: the same from 2.7 to 3.0
 */
export class KumaDpProcess {
  readonly #clock: Clock;
  readonly #child: Child;
  readonly #readiness: Promise<KumaDpReadiness>;
  readonly #ended = new AbortController();
  #told: Promise<unknown> = Promise.resolve();
  #lastTermAtMs = Number.NEGATIVE_INFINITY;
  #toldAtMs: number | undefined;

  constructor(child: Child, deps: KumaDpProcessDeps) {
    this.#child = child;
    this.#clock = deps.clock;
    this.#readiness = deps.readiness;
    void deps.ended.then(() => {
      this.#ended.abort(new Error('kuma-dp has ended'));
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  get lives(): boolean {
    return !this.#ended.signal.aborted;
  }

  /** Settles when kuma-dp has been told of every stage requested so far. */
  get told(): Promise<unknown> {
    return this.#told;
  }

  /** When kuma-dp was told to drain, or was seen draining; `undefined` before. */
  get toldAtMs(): number | undefined {
    return this.#toldAtMs;
  }

  forward(signal: SignalName): void {
    this.#child.signal(signal);
  }

  /** Stages are signalled one after the other, however fast they are requested; only `kill` does not wait. */
  tell(stage: Stage): Promise<unknown> {
    switch (stage) {
      case 'kill':
        this.#child.signal('SIGKILL');
        return Promise.resolve();
      case 'standby':
        this.#toldAtMs ??= this.#clock.monotonicMs();
        this.#child.signal('SIGUSR2');
        return Promise.resolve();
      case 'drain':
        this.#told = this.#told.then(() => this.#tellToDrain());
        return this.#told;
      case 'end':
        this.#told = this.#told.then(() => this.#tellToEnd());
        return this.#told;
    }
  }

  /** If another process has signalled kuma-dp as well, it must not take this for the second signal. */
  async #tellToDrain(): Promise<void> {
    if (this.#toldAtMs !== undefined) return;
    const readiness = await this.#readiness;
    const terminating = await readiness.isTerminating();
    this.#toldAtMs = this.#clock.monotonicMs();
    if (!terminating) this.#terminate();
  }

  /** Only a draining kuma-dp ends at its next signal. */
  async #tellToEnd(): Promise<void> {
    await this.#tellToDrain();
    const waitMs = this.#lastTermAtMs + BETWEEN_SIGNALS_MS - this.#clock.monotonicMs();
    if (waitMs > 0) await pause(this.#clock, waitMs, this.#ended.signal);
    this.#terminate();
  }

  #terminate(): void {
    this.#lastTermAtMs = this.#clock.monotonicMs();
    this.#child.signal('SIGTERM');
  }
}
