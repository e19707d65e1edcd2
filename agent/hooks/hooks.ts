import { within, type Clock } from '../../kernel/clock.ts';
import type { AgentEvents } from '../events.ts';
import type { Phase } from '../stop/phases.pure.ts';
import {
  hookEnvironment,
  hookOf,
  READY,
  type HookCommands,
  type HookName,
  type HookStart,
} from './hook-plan.pure.ts';

/** @returns how it failed, in words; `undefined` if it did not. Never rejects. */
export type RunHook = (
  command: string,
  how: {
    readonly environment: Readonly<Record<string, string>>;
    /** Called with each line that it writes. */
    readonly said: (line: string) => void;
    /** Aborts when its time is up. */
    readonly signal: AbortSignal;
  },
) => Promise<string | undefined>;

export interface HooksDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly commands: HookCommands;
  readonly incarnation: string;
  /** `undefined` while it is not known. */
  readonly dataplane: () => string | undefined;
  readonly run: RunHook;
}

/** Commands of the operator at points of a run. They delay a stop by their share of its budget, and never fail it. */
export class Hooks {
  readonly #deps: HooksDeps;
  readonly #begun = new Set<HookName>();
  readonly #running = new Map<HookName, Promise<void>>();
  readonly #over = new AbortController();
  #phase: Phase['name'] = 'starting';
  #asked = 1;

  constructor(deps: HooksDeps) {
    this.#deps = deps;
  }

  onReady(): void {
    if (!this.#begun.has('leave')) this.#begin(READY);
  }

  onPhase(phase: Phase): void {
    this.#phase = phase.name;
    if ('asked' in phase) this.#asked = phase.asked;
    const start = hookOf(phase, this.#begun, this.#deps.clock.monotonicMs());
    if (start !== undefined) this.#begin(start);
  }

  /** Settles when the hook of the stop's beginning is over: until then the drain need not end. Never throws. */
  async left(): Promise<void> {
    await this.#running.get('leave');
  }

  /** Settles when every hook is over; after a second stop request it does not wait. Never throws. */
  async finish(): Promise<void> {
    if (this.#asked > 1) this.#over.abort(new Error('The stop is in a hurry'));
    // A start's hook has no share of the stop's time.
    const ofTheStop = [...this.#running].filter(([name]) => name !== 'ready').map(([, done]) => done);
    await Promise.all(ofTheStop);
    this.#over.abort(new Error('The run is over'));
  }

  #begin(start: HookStart): void {
    const { name } = start;
    const command = this.#deps.commands[name];
    if (this.#begun.has(name)) return;
    this.#begun.add(name);
    if (command === undefined) return;
    const done = this.#run(command, start).finally(() => this.#running.delete(name));
    this.#running.set(name, done);
  }

  async #run(command: string, { name, limitMs }: HookStart): Promise<void> {
    const { clock, events, dataplane, incarnation, run } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    const timeUp = new AbortController();
    const stop = (): void => timeUp.abort(new Error('Its time is up'));
    this.#over.signal.addEventListener('abort', stop, { once: true });
    const environment = hookEnvironment(name, {
      dataplane: dataplane(),
      incarnation,
      phase: this.#phase,
      limitMs,
    });
    const said = (line: string): void => events.hookSaid(name, line);
    events.hookStarted(name, limitMs);
    const ended = run(command, { environment, said, signal: timeUp.signal })
      .then((failure) => ({ failure }))
      .catch((error: unknown) => ({ failure: String(error) }));
    const result = await within(clock, limitMs, ended);
    stop();
    this.#over.signal.removeEventListener('abort', stop);
    const tookMs = clock.monotonicMs() - startedAtMs;
    const failure = result === undefined ? 'killed: its time was up' : result.failure;
    if (failure === undefined) events.hookDone(name, tookMs);
    else events.hookFailed(name, failure, tookMs);
  }
}
