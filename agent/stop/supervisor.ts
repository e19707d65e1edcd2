import { pause } from '../../kernel/clock.ts';
import { describeExit, type ChildExit } from '../child/exit-status.pure.ts';
import { INITIAL_PHASE, step } from './step.pure.ts';
import type { Effect, Input, Phase, Timer } from './phases.pure.ts';
import { Drain, type DrainDeps, type DrainedDataplane } from './drain.ts';
import { crashDeadlines, divideBudget, STOP_WISHES } from './stop-budget.pure.ts';
import {
  amendDeregistration,
  beginRecord,
  endNote,
  finishReport,
  OUTCOME_OF_INPUT,
  recordPhase,
  type Confirmed,
  type Deregistration,
  type StateNote,
  type StopRecord,
} from './stop-report.pure.ts';
import type { StopReport } from './stop-report.pure.ts';
import { KumaDpProcess } from './kuma-dp-process.ts';
import type { Child, EnvoyAdmin, KumaDpReadiness } from '../ports.ts';
import type { ObjectKeeper } from '../object/keeper.ts';

/** What the supervisor needs to know of the dataplane. Arrives after kuma-dp may have been started already. */
export interface SupervisedDataplane extends DrainedDataplane {
  readonly label: string;
  readonly incarnation: string;
  readonly lifecycle: string;
  /** `undefined`: nothing can be deregistered; everything else is the same. */
  readonly registration: ObjectKeeper | undefined;
  /** Why there is no registration. */
  readonly unregisteredBecause: string;
  readonly readiness: KumaDpReadiness;
}

export interface SupervisorDeps extends Omit<DrainDeps, 'dataplane'> {
  readonly stopBudgetMs: number;
  readonly onCrash: 'deregister' | 'keep';
  readonly dataplane: Promise<SupervisedDataplane>;
  /** Each phase as it is entered, for metrics and status. */
  readonly onPhase?: (phase: Phase) => void;
  /** Each change that another process must know of if this one is killed. */
  readonly note: (note: StateNote) => void;
  /** Last words: the report, if there was a stop, and what `note` has not written yet. The exit waits, but not long. */
  readonly finish: (report: StopReport | undefined) => Promise<void>;
}

/** How long last words may take, once the budget of the stop is spent or saved. */
const FINISH_BUDGET_MS = 250;

/** All attempts to deregister before a standby; the standby does not wait for them. */
const STANDBY_MS = 5_000;

const STOP_SIGNALS: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT', 'SIGHUP']);

/** Feeds what happens to {@link step} and carries out what it decides. The only writer of the phase. */
export class Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #ended = Promise.withResolvers<ChildExit>();
  readonly #timers = new Map<Timer, () => void>();
  /** Aborts when a stop begins: whatever prepares or announces must not go on beside it. */
  readonly #startCancelled = new AbortController();
  readonly #over = new AbortController();
  #phase: Phase = INITIAL_PHASE;
  #kumaDp: KumaDpProcess | undefined;
  #kumaDpLives = false;
  readonly #drain: Drain;
  #record: StopRecord | undefined;
  #asked = 0;
  readonly #deregistrations: Deregistration[] = [];
  /** When the peers of an object that is gone have been told. */
  #settledAtMs = Number.NEGATIVE_INFINITY;
  /** There may be an object: the agent has put it, or Envoy was there to connect. */
  #registered = false;
  #confirmed: Confirmed | undefined;
  #stepOutcome: { readonly outcome: string; readonly detail?: Readonly<Record<string, unknown>> } | undefined;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#drain = new Drain(deps, this.#over.signal);
  }

  /** How the agent has to end. */
  get ended(): Promise<ChildExit> {
    return this.#ended.promise;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get sawEnvoy(): boolean {
    return this.#phase.name === 'running' && this.#phase.envoy;
  }

  /** What the drain waits for, in words. */
  get hold(): string | undefined {
    return this.#phase.name === 'draining' ? this.#drain.hold : undefined;
  }

  /** Aborts as soon as a stop begins. */
  get stopping(): AbortSignal {
    return this.#startCancelled.signal;
  }

  /** TERM, INT, HUP: stop. USR2: standby. Everything else goes to kuma-dp as it came. */
  onSignal(signal: NodeJS.Signals): void {
    const { clock, events, stopBudgetMs } = this.#deps;
    const deadlines = divideBudget(clock.monotonicMs(), stopBudgetMs);
    if (STOP_SIGNALS.has(signal)) {
      this.#asked += 1;
      // The third changes all that can be changed; a storm of them is not worth a line each.
      if (this.#asked <= 3) events.stopRequested(signal, this.#asked);
      this.#record ??= beginRecord(`signal ${signal}`, deadlines);
      this.#accept({ type: 'stop-requested', signal, deadlines });
    } else if (signal === 'SIGUSR2') {
      this.#accept({ type: 'standby-requested', deregisterByMs: clock.monotonicMs() + STANDBY_MS });
    } else if (this.#kumaDpLives) {
      events.signalForwarded(signal);
      this.#kumaDp?.forward(signal);
    }
  }

  onAnnounced(): void {
    this.#registered = true;
    this.#accept({ type: 'announced' });
  }

  onSpawned(child: Child, exited: Promise<ChildExit>): void {
    const { clock, dataplane } = this.#deps;
    this.#kumaDp = new KumaDpProcess(child, {
      clock,
      readiness: dataplane.then(({ readiness }) => readiness),
      ended: exited,
    });
    this.#kumaDpLives = true;
    this.#drain.onSpawned(this.#kumaDp);
    this.#deps.note({ phase: 'running', pid: child.pid });
    this.#accept({ type: 'spawned' });
    void exited.then((exit) => {
      this.#onChildExited(exit);
    });
  }

  onSpawnFailed(exitCode: number): void {
    this.#accept({ type: 'spawn-failed', exit: { code: exitCode, signal: null } });
  }

  /** @param admin `undefined` where Envoy runs but cannot be asked */
  onEnvoySeen(admin: EnvoyAdmin | undefined): void {
    this.#attend(this.#drain.onEnvoySeen(admin, this.stopping));
    this.#registered = true;
    this.#accept({ type: 'envoy-seen' });
  }

  #onChildExited(exit: ChildExit): void {
    const { clock, events, onCrash } = this.#deps;
    this.#kumaDpLives = false;
    events.childExited(exit);
    const atMs = clock.monotonicMs();
    const deadlines = crashDeadlines(atMs);
    this.#record ??= beginRecord('kuma-dp exited', deadlines);
    this.#stepOutcome ??= { outcome: describeExit(exit) };
    this.#accept({ type: 'child-exited', exit, atMs, deadlines: onCrash === 'keep' ? undefined : deadlines });
  }

  #accept(input: Input): void {
    const before = this.#phase;
    const { phase, effects } = step(before, input);
    this.#phase = phase;
    if (phase.name !== before.name) {
      this.#deps.events.phaseChanged(before.name, phase.name, input.type);
      this.#recordPhase(phase, input);
      this.#deps.onPhase?.(phase);
    }
    for (const effect of effects) this.#run(effect);
  }

  #recordPhase(entered: Phase, input: Input): void {
    if (this.#record === undefined) return;
    const { outcome, detail } = this.#stepOutcome ?? { outcome: OUTCOME_OF_INPUT[input.type] };
    this.#stepOutcome = undefined;
    this.#record = recordPhase(this.#record, entered.name, {
      atMs: this.#deps.clock.monotonicMs(),
      outcome,
      ...(detail === undefined ? {} : { detail }),
    });
  }

  #run(effect: Effect): void {
    switch (effect.type) {
      case 'cancel-start':
        this.#startCancelled.abort(new Error('The start was cancelled by a signal'));
        return;
      case 'deregister':
        this.#startCancelled.abort(new Error('A stop has begun'));
        this.#attend(this.#deregister(effect.byMs));
        if (this.#kumaDpLives && this.#phase.name !== 'running') this.#attend(this.#drain.begin());
        return;
      case 'hasten-deregistration':
        this.#attend(this.#deps.dataplane.then(({ registration }) => registration?.hasten()));
        return;
      case 'give-up-deregistration':
        this.#attend(this.#deps.dataplane.then(({ registration }) => registration?.giveUp()));
        return;
      case 'arm':
        this.#arm(effect.timer, effect.atMs);
        return;
      case 'watch-drain':
        this.#attend(this.#watchDrain());
        return;
      case 'tell-child':
        this.#attend(
          this.#drain.tell(effect.stage, this.#phase.name === 'draining' ? 'in order' : 'hurried'),
        );
        return;
      case 'confirm':
        this.#attend(this.#confirm(effect.byMs));
        return;
      case 'exit':
        this.#attend(this.#exit(effect.exit));
    }
  }

  /** Effects settle their own failures; what still comes out of one is a bug that must not cost the stop. */
  #attend(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.#deps.events.failedUnexpectedly(error);
    });
  }

  #arm(timer: Timer, atMs: number): void {
    const { clock } = this.#deps;
    this.#timers.get(timer)?.();
    const disarm = clock.after(Math.max(0, atMs - clock.monotonicMs()), () => {
      this.#timers.delete(timer);
      if (timer === 'kill' && this.#kumaDpLives) this.#stepOutcome = { outcome: 'killed' };
      if (timer === 'deregister' && this.#phase.name === 'deregistering')
        this.#deps.events.deregistrationLate();
      this.#accept({ type: 'timer-fired', timer });
    });
    this.#timers.set(timer, disarm);
  }

  async #deregister(byMs: number): Promise<void> {
    const { events, note } = this.#deps;
    const { registration, unregisteredBecause, settleLeftMs } = await this.#deps.dataplane;
    const hasReconnected = this.#drain.watchStreams();
    const pending = registration?.deregister(byMs);
    note({ phase: 'leaving', deregistered: false });
    const result: Deregistration = (await pending) ?? {
      outcome: 'kept',
      reason: unregisteredBecause,
      endpoint: undefined,
      attempts: 0,
    };
    if (this.#deregistrations.length === 0) events.deregistered(result);
    this.#deregistrations.push(result);
    note({ phase: 'leaving', deregistered: result.outcome !== 'failed' });
    this.#acceptDeregistration(result, settleLeftMs?.() ?? registration?.settleMs ?? 0);
    if (result.outcome !== 'gone' || registration === undefined) return;
    registration.watchGone({
      hasReconnected,
      onDeletedAgain: () => this.#onDeletedAgain(registration.settleMs),
    });
  }

  /** The control plane had put the object back for Envoy's stream. */
  #onDeletedAgain(settleMs: number): void {
    const { clock, events } = this.#deps;
    events.confirmed({ outcome: 'deleted again' });
    const atMs = clock.monotonicMs();
    this.#settledAtMs = atMs + settleMs;
    this.#accept({ type: 'deregistered', outcome: 'gone', settleMs, atMs });
  }

  #acceptDeregistration({ outcome, ...detail }: Deregistration, settleMs: number): void {
    const atMs = this.#deps.clock.monotonicMs();
    this.#settledAtMs = atMs + settleMs;
    if (this.#phase.name === 'deregistering') this.#stepOutcome = { outcome, detail };
    else if (this.#record !== undefined)
      this.#record = amendDeregistration(this.#record, { atMs, outcome, detail });
    this.#accept({ type: 'deregistered', outcome, settleMs, atMs });
    this.#stepOutcome = undefined;
  }

  async #watchDrain(): Promise<void> {
    const { registration } = await this.#deps.dataplane;
    const drained = await this.#drain.untilOver(() => ({
      deregistration:
        registration?.isGone === false ? 'failed' : (this.#deregistrations.at(-1)?.outcome ?? 'failed'),
      settledAtMs: this.#settledAtMs,
    }));
    if (drained === undefined) return;
    const { outcome, held } = drained;
    this.#stepOutcome = { outcome, ...(held.length === 0 ? {} : { detail: { held } }) };
    this.#accept({ type: 'drained' });
    this.#stepOutcome = undefined;
  }

  async #confirm(byMs: number): Promise<void> {
    const { registration } = await this.#deps.dataplane;
    if (registration?.mayDelete === true) {
      // What the other steps left over is no reason to look longer.
      const lookMs = this.#deps.clock.monotonicMs() + STOP_WISHES.confirmMs;
      const confirmed = await registration.confirm(Math.min(byMs, lookMs));
      if (this.#phase.name !== 'confirming') return;
      this.#confirmed = confirmed;
      this.#deps.events.confirmed(confirmed);
      const { outcome, reason } = confirmed;
      this.#stepOutcome = { outcome, ...(reason === undefined ? {} : { detail: { reason } }) };
    }
    this.#accept({ type: 'confirmed' });
  }

  async #exit(exit: ChildExit): Promise<void> {
    const { clock, finish, note } = this.#deps;
    this.#startCancelled.abort(new Error('The stop is over'));
    this.#over.abort(new Error('The stop is over'));
    for (const disarm of this.#timers.values()) disarm();
    const report = await this.#report(exit);
    note(
      endNote(this.#deregistrations, { confirmed: this.#confirmed, registered: this.#registered, report }),
    );
    const finished = new AbortController();
    await Promise.race([
      // kuma-dp has ended, and so must the agent, whatever is wrong with its last words.
      finish(report).catch(this.#deps.events.failedUnexpectedly),
      pause(clock, FINISH_BUDGET_MS, finished.signal),
    ]);
    finished.abort(new Error('Everything is written'));
    this.#ended.resolve(exit);
  }

  async #report(exit: ChildExit): Promise<StopReport | undefined> {
    if (this.#record === undefined) return undefined;
    const { clock, dataplane, events } = this.#deps;
    const { label, incarnation, lifecycle } = await dataplane;
    const report = finishReport(this.#record, {
      stoppedAt: new Date(clock.wallMs()).toISOString(),
      dataplane: label,
      incarnation,
      lifecycle,
      asked: this.#asked,
      exit,
      atMs: clock.monotonicMs(),
    });
    events.stopReported(report);
    return report;
  }
}
