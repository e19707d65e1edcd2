import type { ChildExit, SignalName } from '../child/exit-status.pure.ts';
import type { Child, EnvoyAdmin } from '../ports.ts';
import { Drain, type DrainDeps } from './drain.ts';
import { KumaDpProcess } from './kuma-dp-process.ts';
import type { Deregistration, Effect, Input, Phase, Timer } from './phases.pure.ts';
import type { RunFacts } from './run-facts.ts';
import { EMPTY_RECORD, recordStep, type RunRecord } from './run-record.pure.ts';
import { INITIAL_PHASE, step } from './step.pure.ts';
import { crashDeadlines, divideBudget, STOP_WISHES } from './stop-budget.pure.ts';
import { endNote, finishReport, type StateNote, type StopReport } from './stop-report.pure.ts';

export interface SupervisorDeps extends Omit<DrainDeps, 'onHold'> {
  readonly stopBudgetMs: number;
  readonly onCrash: 'deregister' | 'keep';
  /** Settles when nothing else needs Envoy to serve; the caller limits the wait. Never rejects. */
  readonly untilLeft: () => Promise<void>;
}

/** The service manager, or the companion. */
export interface PhaseWatcher {
  /** Each phase as it is entered. */
  onPhase(phase: Phase): void;
  /** What a drain waits for, as it changes. */
  onHold?(words: string | undefined): void;
}

/** How the agent must end, and the report if there was a stop. */
export interface RunEnd {
  readonly exit: ChildExit;
  readonly report: StopReport | undefined;
}

/** All attempts to deregister before a standby; the standby does not wait for them. */
const STANDBY_MS = 5_000;

const STOP_SIGNALS: ReadonlySet<SignalName> = new Set(['SIGTERM', 'SIGINT', 'SIGHUP']);

/** Feeds events to {@link step} and carries out its effects. The only writer of the phase. */
export class Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #facts: RunFacts;
  readonly #drain: Drain;
  readonly #ended = Promise.withResolvers<RunEnd>();
  readonly #timers = new Map<Timer, () => void>();
  readonly #watchers: PhaseWatcher[] = [];
  #phase: Phase = INITIAL_PHASE;
  #record: RunRecord = EMPTY_RECORD;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#facts = deps.facts;
    this.#drain = new Drain({
      ...deps,
      onHold: (words) => {
        for (const watcher of this.#watchers) watcher.onHold?.(words);
      },
    });
  }

  get ended(): Promise<RunEnd> {
    return this.#ended.promise;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** The reason for the drain's wait, in words. */
  get hold(): string | undefined {
    return this.#phase.name === 'draining' ? this.#drain.hold : undefined;
  }

  watch(watcher: PhaseWatcher): void {
    this.#watchers.push(watcher);
  }

  /** TERM, INT, HUP: stop. USR2: standby. Every other signal is forwarded to kuma-dp. */
  onSignal(signal: SignalName): void {
    const { clock, events, stopBudgetMs } = this.#deps;
    const kumaDp = this.#facts.kumaDp.value;
    const nowMs = clock.monotonicMs();
    if (STOP_SIGNALS.has(signal)) {
      const nth = this.#record.asked + 1;
      // Signals after the third change nothing, so they are not logged.
      if (nth <= 3) events.stopRequested(signal, nth);
      this.#accept({ type: 'stop-requested', signal, deadlines: divideBudget(nowMs, stopBudgetMs) });
    } else if (signal === 'SIGUSR2') {
      this.#accept({ type: 'standby-requested', deregisterByMs: nowMs + STANDBY_MS });
    } else if (kumaDp?.lives === true) {
      events.signalForwarded(signal);
      kumaDp.forward(signal);
    }
  }

  onRegistered(): void {
    this.#accept({ type: 'registered' });
  }

  onSpawned(child: Child, exited: Promise<ChildExit>): void {
    const { clock } = this.#deps;
    const readiness = this.#facts.dataplane.known.then((dataplane) => dataplane.readiness);
    this.#facts.kumaDp.set(new KumaDpProcess(child, { clock, readiness, ended: exited }));
    this.#attend(this.#note({ phase: 'running', pid: child.pid }));
    this.#accept({ type: 'spawned' });
    void exited.then((exit) => this.#onChildExited(exit));
  }

  onSpawnFailed(exitCode: number): void {
    const deadlines = crashDeadlines(this.#deps.clock.monotonicMs());
    this.#accept({ type: 'spawn-failed', exit: { code: exitCode, signal: null }, deadlines });
  }

  /** @param admin `undefined` where Envoy runs but cannot be asked */
  onEnvoySeen(admin: EnvoyAdmin | undefined): void {
    this.#facts.envoy.set({ admin });
    this.#attend(this.#drain.remember());
    this.#accept({ type: 'envoy-seen' });
  }

  #onChildExited(exit: ChildExit): void {
    const { clock, events, onCrash } = this.#deps;
    const atMs = clock.monotonicMs();
    const deadlines = onCrash === 'keep' ? undefined : crashDeadlines(atMs);
    events.childExited(exit);
    this.#accept({ type: 'child-exited', exit, atMs, deadlines });
    this.#facts.end();
  }

  #accept(input: Input): void {
    const { clock, events } = this.#deps;
    const before = this.#phase;
    const { phase: after, effects } = step(before, input);
    this.#phase = after;
    this.#record = recordStep(this.#record, { before, input, after, atMs: clock.monotonicMs() });
    if (after.name !== before.name) {
      events.phaseChanged(before.name, after.name, input.type);
      for (const watcher of this.#watchers) watcher.onPhase(after);
    }
    for (const effect of effects) this.#run(effect);
  }

  #run(effect: Effect): void {
    switch (effect.type) {
      case 'cancel-start':
        this.#facts.beginStop('The start was cancelled');
        return;
      case 'deregister':
        this.#facts.beginStop('A stop has begun');
        this.#attend(this.#deregister(effect.byMs));
        return;
      case 'hasten-deregistration':
        this.#attend(this.#facts.dataplane.known.then(({ registration }) => registration?.hasten()));
        return;
      case 'give-up-deregistration':
        this.#attend(this.#facts.dataplane.known.then(({ registration }) => registration?.giveUp()));
        return;
      case 'arm':
        this.#arm(effect.timer, effect.atMs);
        return;
      case 'watch-users':
        this.#attend(this.#drain.begin());
        return;
      case 'watch-drain':
        this.#attend(this.#watchDrain());
        return;
      case 'tell-child':
        this.#attend(this.#drain.tell(effect.stage));
        return;
      case 'confirm':
        this.#attend(this.#confirm(effect.byMs));
        return;
      case 'exit':
        this.#attend(this.#exit(effect.exit));
    }
  }

  /** Effects handle their own failures; an error that escapes is a bug, and must not end the stop. */
  #attend(work: Promise<unknown>): void {
    work.catch(this.#deps.events.failedUnexpectedly);
  }

  async #note(note: StateNote): Promise<void> {
    const { notes } = await this.#facts.dataplane.known;
    notes?.note(note);
  }

  #arm(timer: Timer, atMs: number): void {
    const { clock, events } = this.#deps;
    this.#timers.get(timer)?.();
    const disarm = clock.after(Math.max(0, atMs - clock.monotonicMs()), () => {
      this.#timers.delete(timer);
      if (timer === 'deregister' && this.#phase.name === 'deregistering') events.deregistrationLate();
      this.#accept({ type: 'timer-fired', timer });
    });
    this.#timers.set(timer, disarm);
  }

  async #deregister(byMs: number): Promise<void> {
    const { clock, events } = this.#deps;
    const { registration, unregisteredBecause, settleLeftMs, notes } = await this.#facts.dataplane.known;
    const hasReconnected = this.#drain.watchStreams();
    const pending = registration?.deregister(byMs);
    notes?.note({ phase: 'leaving', deregistered: false });
    const result = (await pending) ?? notRegistered(unregisteredBecause);
    if (this.#record.deregistrations.length === 0) events.deregistered(result);
    notes?.note({ phase: 'leaving', deregistered: result.outcome !== 'failed' });
    const settleMs = settleLeftMs?.() ?? registration?.settleMs ?? 0;
    this.#accept({ type: 'deregistered', ...result, settleMs, atMs: clock.monotonicMs() });
    if (result.outcome !== 'gone' || registration === undefined) return;
    registration.watchGone({
      hasReconnected,
      onDeletedAgain: () => {
        events.confirmed({ outcome: 'deleted again' });
        this.#accept({ type: 'deleted-again', settleMs: registration.settleMs, atMs: clock.monotonicMs() });
      },
    });
  }

  async #watchDrain(): Promise<void> {
    const { registration } = await this.#facts.dataplane.known;
    const drained = await this.#drain.untilOver(() => {
      const { deregistrations, settledAtMs } = this.#record;
      const last = deregistrations.at(-1)?.outcome ?? 'failed';
      return { deregistration: registration?.isGone === false ? 'failed' : last, settledAtMs };
    });
    if (drained === undefined) return;
    await this.#deps.untilLeft();
    this.#accept({ type: 'drained', ...drained });
  }

  async #confirm(byMs: number): Promise<void> {
    const { clock, events } = this.#deps;
    const { registration } = await this.#facts.dataplane.known;
    if (registration?.mayDelete !== true) {
      this.#accept({ type: 'confirmed', confirmed: undefined });
      return;
    }
    // The look gets no longer because other steps were short.
    const lookMs = clock.monotonicMs() + STOP_WISHES.confirmMs;
    const confirmed = await registration.confirm(Math.min(byMs, lookMs));
    if (this.#phase.name === 'confirming') events.confirmed(confirmed);
    this.#accept({ type: 'confirmed', confirmed });
  }

  async #exit(exit: ChildExit): Promise<void> {
    this.#facts.end();
    for (const disarm of this.#timers.values()) disarm();
    const report = await this.#report(exit);
    const { deregistrations, confirmed, registered } = this.#record;
    this.#facts.dataplane.value?.notes?.note(endNote(deregistrations, { confirmed, registered, report }));
    this.#ended.resolve({ exit, report });
  }

  async #report(exit: ChildExit): Promise<StopReport | undefined> {
    const { stop, asked } = this.#record;
    if (stop === undefined) return undefined;
    const { clock, events } = this.#deps;
    const { label, lifecycle } = await this.#facts.dataplane.known;
    const report = finishReport(stop, {
      stoppedAt: new Date(clock.wallMs()).toISOString(),
      dataplane: label,
      incarnation: this.#facts.incarnation,
      lifecycle,
      asked,
      exit,
      atMs: clock.monotonicMs(),
    });
    events.stopReported(report);
    return report;
  }
}

function notRegistered(reason: string): Deregistration {
  return { outcome: 'kept', reason, endpoint: undefined, attempts: 0 };
}
