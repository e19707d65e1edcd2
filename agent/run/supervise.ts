import { randomUUID } from 'node:crypto';
import process from 'node:process';

import { whenAborted } from '../../kernel/aborted.ts';
import { pause, systemClock as clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { Fact } from '../../kernel/fact.ts';
import type { Log } from '../../kernel/log.ts';
import type { Spawner } from '../child/child-process.io.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { becomeKumaDp } from '../child/in-place.io.ts';
import { writeError } from '../child/standard-streams.io.ts';
import { agentEvents, type AgentEvents } from '../events.ts';
import { asPreApplied } from '../identity/kuma-dp-command.pure.ts';
import { hookRunner } from '../hooks/hook-process.io.ts';
import { Hooks } from '../hooks/hooks.ts';
import type { RunMetrics } from '../metrics/run-metrics.io.ts';
import type { Spawned } from '../ports.ts';
import { appendReport } from '../stop/report-file.io.ts';
import { RunFacts } from '../stop/run-facts.ts';
import { judgeChoices } from '../stop/stop-choices.pure.ts';
import { Supervisor, type RunEnd } from '../stop/supervisor.ts';
import type { ServiceNotices } from '../systemd/service-notices.ts';
import { followEnvoy } from './follow-envoy.ts';
import { finishWrites } from './closing-writes.ts';
import { openFaces } from './open-listeners.ts';
import { openService } from './open-service.ts';
import { prepare } from './prepare.ts';
import { settingsGiven, type RunRequest } from './run-request.ts';
import { stopSettings } from './stop-settings.ts';
import { trackDataplane, type TrackedDataplane } from './track-dataplane.ts';
import { unregisteredDataplane } from './unregistered-dataplane.ts';

export interface SuperviseRequest extends RunRequest {
  readonly log: Log;
  readonly spawner: Spawner;
  readonly stdin: Promise<Uint8Array> | undefined;
  /** When the run began, on the monotonic clock. */
  readonly beganAtMs: number;
  /** `undefined`: this starts kuma-dp, once everything is prepared. */
  readonly spawned: SpawnedChild | undefined;
  /** Loaded where `--metrics` is on. */
  readonly RunMetrics?: typeof RunMetrics;
}

type SpawnedChild = Extract<Spawned, { readonly child: unknown }>;

/** How long a stop that comes while the template is read waits for the dataplane's name. */
const DERIVATION_PATIENCE_MS = 500;

/** Looks after kuma-dp until it has ended, and returns how it ended. */
export function supervise(request: SuperviseRequest): Promise<ChildExit> {
  return new Supervision(request).run();
}

/**
 * Runs one dataplane: collects its facts, lets the supervisor decide, and connects both to processes, files and
 * endpoints.
 */
class Supervision {
  readonly #request: SuperviseRequest;
  readonly #facts = new RunFacts(randomUUID());
  readonly #tracked = new Fact<TrackedDataplane>();
  readonly #events: AgentEvents;
  /** `undefined` where `--metrics` is off. */
  readonly #metrics: RunMetrics | undefined;
  /** `undefined` where no service manager listens. */
  readonly #service: ServiceNotices | undefined;
  readonly #supervisor: Supervisor;
  readonly #hooks: Hooks;
  /** Aborts when everything is sent and written. */
  readonly #closed = new AbortController();

  constructor(request: SuperviseRequest) {
    const { options, env, log } = request;
    this.#request = request;
    const events = agentEvents(log);
    this.#metrics = request.RunMetrics?.of({ clock, events }, options);
    this.#events = this.#metrics?.events ?? events;
    this.#service = openService(env, clock, this.#events);
    this.#supervisor = new Supervisor({
      clock,
      events: this.#events,
      facts: this.#facts,
      stopBudgetMs: options.stopBudgetMs,
      onCrash: options.onCrash,
      untilLeft: () => this.#hooks.left(),
      ...stopSettings(request),
    });
    this.#hooks = new Hooks({
      clock,
      events: this.#events,
      commands: { ready: options.onReady, leave: options.onLeave, drained: options.onDrained },
      incarnation: this.#facts.incarnation,
      dataplane: () => this.#tracked.value?.label,
      run: hookRunner(env),
    });
    this.#supervisor.watch(this.#hooks);
    if (this.#service !== undefined) this.#supervisor.watch(this.#service);
  }

  async run(): Promise<ChildExit> {
    const { spawned, signals } = this.#request;
    // A bug in the agent must not end the dataplane.
    process.on('uncaughtException', this.#events.failedUnexpectedly);
    whenAborted(this.#facts.stopping, () => void this.#goOnWithoutDataplane());
    if (spawned !== undefined) this.#onSpawned(spawned);
    signals.onSignal((signal) => {
      this.#supervisor.onSignal(signal);
    });
    this.#sayHowItBegan();
    this.#attend(this.#start());
    this.#attend(this.#followEnvoy());
    this.#attend(this.#listen());
    return this.#end(await this.#supervisor.ended);
  }

  /** kuma-dp runs, whatever failed in the agent. */
  async #start(): Promise<void> {
    try {
      const prepared = await prepare(this.#request, {
        clock,
        events: this.#events,
        incarnation: this.#facts.incarnation,
        agentPid: process.pid,
        beganAtMs: this.#request.beganAtMs,
        stdin: this.#request.stdin,
        stopping: this.#facts.stopping,
        onFacts: () => this.#tracked.value?.notes.noteFacts(),
      });
      if ('problem' in prepared) this.#startUnregistered(prepared.problem);
      else
        this.#startRegistered(
          trackDataplane(prepared, {
            clock,
            events: this.#events,
            facts: this.#facts,
            service: this.#service,
          }),
        );
    } catch (error) {
      if (this.#tracked.value === undefined) this.#startUnregistered(describeError(error));
      throw error;
    }
  }

  #startRegistered(dataplane: TrackedDataplane): void {
    const { argv, env } = this.#request;
    const { owner, label, identity, endpoints, keeper, attachment, stateFile } = dataplane;
    this.#tracked.set(dataplane);
    whenAborted(this.#closed.signal, () => {
      attachment?.close();
      keeper.close();
    });
    this.#supervisor.watch({ onPhase: ({ name }) => attachment?.onPhase(name) });
    this.#facts.dataplane.set(dataplane.supervised);
    this.#service?.onDerived(label);
    this.#events.dataplaneDerived(label, { lifecycle: owner, incarnation: this.#facts.incarnation });
    if (owner === 'agent') this.#supervisor.onRegistered();
    this.#spawn(owner === 'agent' ? asPreApplied(argv, env, identity.key) : { argv, env });
    this.#metrics?.onDerived(
      stateFile.path,
      endpoints.looks.map(({ url }) => url),
    );
    endpoints.keepWarm(this.#facts.over);
  }

  #startUnregistered(problem: string): void {
    const { argv, env, options } = this.#request;
    if (options.requireIdentity) {
      writeError(`--require-identity: ${problem}`);
      this.#supervisor.onSpawnFailed(EXIT_CONFIG);
      return;
    }
    this.#events.dataplaneUnknown(problem);
    this.#facts.dataplane.set(unregisteredDataplane(this.#request, problem));
    this.#spawn({ argv, env });
  }

  /** A stop that comes before the template has been read continues without a dataplane. */
  async #goOnWithoutDataplane(): Promise<void> {
    if (this.#facts.kumaDp.value !== undefined) await pause(clock, DERIVATION_PATIENCE_MS, this.#facts.over);
    const problem = 'the stop came before the agent knew which dataplane this is';
    this.#facts.dataplane.set(unregisteredDataplane(this.#request, problem));
  }

  #spawn(how: Pick<RunRequest, 'argv' | 'env'>): void {
    const { spawned, spawner, stdin, descriptors } = this.#request;
    if (spawned !== undefined || this.#facts.stopping.aborted) return;
    const result = spawner.spawn({ ...how, stdin, descriptors });
    if ('problem' in result) {
      writeError(result.problem);
      // The object that was registered before stays: kuma-dp, with its own resource, takes it over.
      if (result.noProcess === true) becomeKumaDp(this.#request);
      this.#supervisor.onSpawnFailed(result.exitCode);
    } else this.#onSpawned(result);
  }

  #onSpawned({ child, exited, denied, checkReach, detached }: SpawnedChild): void {
    this.#events.childSpawned(child.pid, this.#request.argv);
    this.#supervisor.onSpawned(child, exited);
    void denied?.then(this.#events.childDenied);
    void this.#facts.envoy.known.then(checkReach);
    void detached?.then(this.#events.childDetached);
  }

  #followEnvoy(): Promise<void> {
    return followEnvoy({
      clock,
      events: this.#events,
      request: this.#request,
      facts: this.#facts,
      tracked: this.#tracked,
      supervisor: this.#supervisor,
      service: this.#service,
      onReady: this.#request.options.onReady === undefined ? undefined : () => this.#hooks.onReady(),
    });
  }

  /** No start or stop waits for this. */
  async #listen(): Promise<void> {
    const { kumaDp, dataplane, stopping, over, incarnation } = this.#facts;
    await Promise.all([kumaDp.known, dataplane.known]);
    if (over.aborted) return;
    const { beganAtMs, options } = this.#request;
    await openFaces(
      {
        clock,
        events: this.#events,
        prepared: this.#tracked.value,
        rotation: this.#tracked.value?.rotation,
        metrics: this.#metrics,
        incarnation,
        beganAtMs,
        stopBudgetMs: options.stopBudgetMs,
        phase: () => this.#supervisor.phase,
        hold: () => this.#supervisor.hold,
        kumaDpPid: () => kumaDp.value?.pid,
        stopping,
      },
      this.#closed.signal,
    );
  }

  #sayHowItBegan(): void {
    const { ignored, options, spawner } = this.#request;
    this.#events.agentStarted(settingsGiven(this.#request));
    for (const problem of ignored) this.#events.settingIgnored(problem);
    judgeChoices(options).forEach(this.#events.optionCut);
    if (!spawner.guarded) this.#events.guardMissing();
  }

  async #end({ exit, report }: RunEnd): Promise<ChildExit> {
    const { reportFile, onCrash } = this.#request.options;
    await this.#hooks.finish();
    await finishWrites(report, {
      clock,
      events: this.#events,
      onCrash,
      attachment: this.#tracked.value?.attachment,
      append: reportFile === undefined ? undefined : (said) => appendReport(reportFile, said),
      pending: [this.#tracked.value?.notes.written, this.#metrics?.onEnd()].filter(
        (each) => each !== undefined,
      ),
    });
    this.#closed.abort(new Error('Cancelled: the agent ends'));
    this.#service?.close();
    return exit;
  }

  #attend(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      // A watch that has found nothing ends in this way.
      if (error !== this.#facts.over.reason) this.#events.failedUnexpectedly(error);
    });
  }
}
