import type { Clock } from '../kernel/clock.ts';
import { mergeFields, toAssignments, type ServiceFields } from '../kernel/service-fields.ts';

/** Sends one message; resolves to the problem if it did not arrive. Never rejects. */
export type SendNotice = (assignments: readonly string[]) => {
  readonly sent: Promise<string | undefined>;
  /** Releases it: no caller waits any more. */
  readonly abandon: () => void;
};

export interface ServiceManagerDeps {
  readonly clock: Clock;
  readonly send: SendNotice;
  /** How long the watchdog waits for a sign of life; `undefined` if there is none. */
  readonly watchdogMs: number | undefined;
  /** Called once. */
  readonly onUnheard: (problem: string) => void;
}

/** Messages are sent together after a short delay: sending starts a process, and a stop has more urgent work. */
const GATHER_MS = 20;
const RETRY_MS = 10_000;
const RETRY_STOPPING_MS = 1_000;

/** Notifies the service manager: never waits, one message at a time. */
export class ServiceManager {
  readonly #deps: ServiceManagerDeps;
  #pending: ServiceFields | undefined;
  #disarmFlush: (() => void) | undefined;
  #disarmWatchdog: (() => void) | undefined;
  #abandon: (() => void) | undefined;
  #unheard = false;
  #closed = false;

  constructor(deps: ServiceManagerDeps) {
    this.#deps = deps;
    this.#watch();
  }

  tell(fields: ServiceFields): void {
    if (this.#closed) return;
    this.#pending = mergeFields(this.#pending, fields);
    this.#arm(GATHER_MS);
  }

  /** Drops unsent messages: the process ends. */
  close(): void {
    this.#closed = true;
    this.#pending = undefined;
    this.#disarmFlush?.();
    this.#disarmWatchdog?.();
    this.#abandon?.();
  }

  #arm(delayMs: number): void {
    if (this.#abandon !== undefined) return;
    this.#disarmFlush?.();
    this.#disarmFlush = this.#deps.clock.after(delayMs, () => {
      this.#disarmFlush = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    const fields = this.#pending;
    if (fields === undefined) return;
    this.#pending = undefined;
    const { sent, abandon } = this.#deps.send(toAssignments(fields));
    this.#abandon = abandon;
    void sent.then((problem) => {
      this.#abandon = undefined;
      if (this.#closed) return;
      if (problem !== undefined) this.#onProblem(fields, problem);
      else if (this.#pending !== undefined) this.#arm(0);
    });
  }

  /** Repeats READY: without it systemd would kill the service. */
  #onProblem(fields: ServiceFields, problem: string): void {
    if (!this.#unheard) this.#deps.onUnheard(problem);
    this.#unheard = true;
    this.#pending = mergeFields(fields, this.#pending ?? {});
    this.#arm(this.#pending.stopping === undefined ? RETRY_MS : RETRY_STOPPING_MS);
  }

  /** At half of the limit, as sd_watchdog_enabled(3) recommends. */
  #watch(): void {
    const { clock, watchdogMs } = this.#deps;
    if (watchdogMs === undefined) return;
    this.#disarmWatchdog = clock.after(watchdogMs / 2, () => {
      this.tell({ alive: true });
      this.#watch();
    });
  }
}
