import { randomUUID } from 'node:crypto';
import process from 'node:process';

import { pause, systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Spawner } from '../child/child-process.io.ts';
import { envoyFinder } from '../envoy/envoy.io.ts';
import { judgeChoices } from '../stop/stop-choices.pure.ts';
import { stopSettings, supervisedDataplane } from './stop-settings.ts';
import { appendReport } from '../stop/report-file.io.ts';
import { writeError } from '../child/standard-streams.io.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { asPreApplied, obstaclesOf } from '../identity/kuma-dp-command.pure.ts';
import type { StopReport } from '../stop/stop-report.pure.ts';
import { agentEvents, type AgentEvents } from '../events.ts';
import type { EnvoyAdmin, EnvoyFinder, Spawned } from '../ports.ts';
import type { ServiceNotices } from '../systemd/service-notices.ts';
import { untilConfigured, untilEnvoyRuns, untilUp } from '../envoy/serving.ts';
import { portStates } from '../../kuma/port-states.ts';
import { Rotation } from '../object/rotation.ts';
import type { RunMetrics } from '../metrics/run-metrics.io.ts';
import { StateNotes } from '../state/state-notes.ts';
import { Supervisor, type SupervisedDataplane } from '../stop/supervisor.ts';
import { Faces } from './open-faces.ts';
import { openService } from './open-service.ts';
import { prepare, type PreparedDataplane } from './prepare.ts';
import { settingsGiven, type RunRequest } from './run-request.ts';
import { unregisteredDataplane } from './unregistered-dataplane.ts';

export interface SuperviseRequest extends RunRequest {
  readonly log: Log;
  readonly spawner: Spawner;
  readonly stdin: Promise<Uint8Array> | undefined;
  /** When the run began, on the monotonic clock. */
  readonly beganAtMs: number;
  /** `undefined`: kuma-dp is to be started here, once everything is prepared. */
  readonly spawned: SpawnedChild | undefined;
  /** Loaded where `--metrics` is on. */
  readonly RunMetrics?: typeof RunMetrics;
}

type SpawnedChild = Extract<Spawned, { readonly child: unknown }>;

/** How long after Envoy was seen it is unknown if the control plane accepts this run. */
const ACCEPTANCE_MS = 1_000;

/** How long a stop waits to learn which dataplane it is about, if it comes while the template is read. */
const DERIVATION_PATIENCE_MS = 500;

/** Looks after kuma-dp until it has ended, and says how. */
export function supervise(request: SuperviseRequest): Promise<ChildExit> {
  return new Supervision(request).run();
}

/** One run of one dataplane: joins the supervisor to the world and starts kuma-dp, unless it runs already. */
class Supervision {
  readonly #request: SuperviseRequest;
  readonly #clock = systemClock;
  readonly #incarnation = randomUUID();
  readonly #events: AgentEvents;
  readonly #supervisor: Supervisor;
  readonly #dataplane = Promise.withResolvers<SupervisedDataplane>();
  readonly #over = new AbortController();
  /** `undefined` where no service manager listens. */
  readonly #service: ServiceNotices | undefined;
  /** `undefined` where `--metrics` is off. */
  readonly #metrics: RunMetrics | undefined;
  readonly #faces = new Faces();
  #notes: StateNotes | undefined;
  #prepared: PreparedDataplane | undefined;
  #rotation: Rotation | undefined;
  #kumaDpPid: number | undefined;
  #envoyAdmin: EnvoyAdmin | undefined;

  constructor(request: SuperviseRequest) {
    const { options } = request;
    this.#request = request;
    const events = agentEvents(request.log);
    this.#metrics = request.RunMetrics?.of({ clock: this.#clock, events, address: options.metrics });
    this.#events = this.#metrics?.events ?? events;
    this.#service = openService(request.env, this.#clock, this.#events);
    this.#supervisor = new Supervisor({
      clock: this.#clock,
      events: this.#events,
      stopBudgetMs: options.stopBudgetMs,
      onCrash: options.onCrash,
      ...stopSettings(request),
      onHold: (words) => this.#service?.onHold(words),
      dataplane: this.#dataplane.promise,
      onPhase: (phase) => {
        this.#prepared?.attachment?.onPhase(phase.name);
        this.#service?.onPhase(phase);
      },
      note: (note) => this.#notes?.note(note),
      finish: (report) => this.#finish(report),
    });
  }

  async run(): Promise<ChildExit> {
    const { spawned, signals, spawner } = this.#request;
    // A bug of ours must not take the dataplane down with it.
    process.on('uncaughtException', this.#events.failedUnexpectedly);
    this.#supervisor.stopping.addEventListener('abort', () => void this.#goOnWithoutDataplane(), {
      once: true,
    });
    if (spawned !== undefined) this.#onSpawned(spawned);
    signals.onSignal((signal) => {
      this.#supervisor.onSignal(signal);
    });
    this.#events.agentStarted(settingsGiven(this.#request));
    for (const problem of this.#request.ignored) this.#events.settingIgnored(problem);
    judgeChoices(this.#request.options).forEach(this.#events.optionCut);
    if (!spawner.guarded) this.#events.guardMissing();
    this.#start().catch((error: unknown) => {
      this.#events.failedUnexpectedly(error);
      // Whatever of ours has failed, kuma-dp runs.
      if (this.#prepared === undefined) this.#startUnregistered(describeError(error));
    });
    const exit = await this.#supervisor.ended;
    this.#over.abort(new Error('kuma-dp has ended'));
    this.#close();
    this.#service?.close();
    return exit;
  }

  async #start(): Promise<void> {
    const prepared = await prepare(this.#request, {
      clock: this.#clock,
      events: this.#events,
      incarnation: this.#incarnation,
      agentPid: process.pid,
      stdin: this.#request.stdin,
      stopping: this.#supervisor.stopping,
      onFacts: () => this.#notes?.noteFacts(),
    });
    if ('problem' in prepared) {
      this.#startUnregistered(prepared.problem);
      await this.#listen();
      return;
    }
    this.#prepared = prepared;
    const { owner, endpoints, label, identity } = prepared;
    this.#notes = this.#takeNotes(prepared);
    const { spawned } = this.#request;
    if (spawned !== undefined) this.#notes.note({ phase: 'running', pid: spawned.child.pid });
    // It may have been seen while everything was prepared.
    if (this.#supervisor.sawEnvoy) this.#notes.noteEnvoySeen();
    this.#rotation = this.#takeRotation(prepared);
    const settleLeftMs = (): number => this.#rotation?.settleLeftMs ?? prepared.keeper.settleMs;
    this.#dataplane.resolve(supervisedDataplane(prepared, { incarnation: this.#incarnation, settleLeftMs }));
    this.#service?.onDerived(label);
    this.#events.dataplaneDerived(label, { lifecycle: owner, incarnation: this.#incarnation });
    if (owner === 'agent') this.#supervisor.onAnnounced();
    const { argv, env } = this.#request;
    this.#spawn(owner === 'agent' ? asPreApplied(argv, env, identity.key) : { argv, env });
    this.#metrics?.onDerived(
      prepared.stateFile.path,
      endpoints.looks.map(({ url }) => url),
    );
    endpoints.keepWarm(this.#over.signal);
    // It may have been seen while everything was prepared.
    this.#rotation?.onEnvoySeen(this.#envoyAdmin);
    await this.#listen();
    // It ended while everything was prepared.
    if (this.#over.signal.aborted) this.#close();
  }

  /** Never before kuma-dp runs, and never waited for by a stop. */
  async #listen(): Promise<void> {
    if (this.#over.signal.aborted) return;
    const { beganAtMs, options } = this.#request;
    await this.#faces.open({
      clock: this.#clock,
      events: this.#events,
      prepared: this.#prepared,
      metrics: this.#metrics,
      incarnation: this.#incarnation,
      beganAtMs,
      stopBudgetMs: options.stopBudgetMs,
      rotation: this.#rotation,
      phase: () => this.#supervisor.phase,
      hold: () => this.#supervisor.hold,
      kumaDpPid: () => this.#kumaDpPid,
      stopping: this.#supervisor.stopping,
    });
  }

  #takeRotation({
    initialState,
    attachment,
    identity,
    keeper,
    owner,
  }: PreparedDataplane): Rotation | undefined {
    const { key, resource } = identity;
    if (key.proxyType !== 'dataplane') return undefined;
    attachment?.onRotation(initialState.rotation?.wanted === 'out');
    const rotation = new Rotation({
      clock: this.#clock,
      events: this.#events,
      keeper,
      initial: initialState.rotation,
      owned: owner === 'agent',
      template: resource === undefined ? {} : portStates(resource),
      note: (record) => {
        this.#notes?.noteRotation(record);
        attachment?.onRotation(record?.wanted === 'out');
      },
      stopping: this.#supervisor.stopping,
    });
    keeper.follow(rotation);
    return rotation;
  }

  #close(): void {
    this.#faces.close();
    this.#prepared?.attachment?.close();
    this.#prepared?.keeper.close();
  }

  #startUnregistered(problem: string): void {
    const { argv, env, options } = this.#request;
    if (options.requireIdentity) {
      writeError(`--require-identity: ${problem}`);
      this.#supervisor.onSpawnFailed(EXIT_CONFIG);
      return;
    }
    this.#events.dataplaneUnknown(problem);
    this.#dataplane.resolve(unregisteredDataplane(this.#request, this.#incarnation, problem));
    this.#spawn({ argv, env });
  }

  /** A stop that comes before the template has been read goes on as if there were none. */
  async #goOnWithoutDataplane(): Promise<void> {
    const { spawned } = this.#request;
    if (spawned !== undefined) await pause(this.#clock, DERIVATION_PATIENCE_MS, this.#over.signal);
    this.#dataplane.resolve(
      unregisteredDataplane(
        this.#request,
        this.#incarnation,
        'the stop came before it was known which dataplane this is',
      ),
    );
  }

  #spawn(how: Pick<RunRequest, 'argv' | 'env'>): void {
    const { spawned, spawner, stdin, descriptors } = this.#request;
    if (spawned !== undefined || this.#supervisor.stopping.aborted) return;
    const result = spawner.spawn({ ...how, stdin, descriptors });
    if ('problem' in result) {
      writeError(result.problem);
      this.#supervisor.onSpawnFailed(result.exitCode);
    } else this.#onSpawned(result);
  }

  #onSpawned({ child, exited }: SpawnedChild): void {
    this.#kumaDpPid = child.pid;
    this.#events.childSpawned(child.pid, this.#request.argv);
    this.#supervisor.onSpawned(child, exited);
    void exited.then(() => {
      this.#over.abort(new Error('kuma-dp has ended'));
    });
    // Ends with `over`, which is how a watch that found nothing ends.
    this.#followEnvoy(child.pid).catch((error: unknown) => {
      if (!this.#over.signal.aborted) this.#events.failedUnexpectedly(error);
    });
  }

  async #followEnvoy(kumaDpPid: number): Promise<void> {
    const clock = this.#clock;
    const over = this.#over.signal;
    const found = await untilEnvoyRuns({ clock, finder: this.#envoyFinder(), kumaDpPid, over });
    if (over.aborted) return;
    const admin = 'admin' in found ? found.admin : undefined;
    if ('hidden' in found) this.#events.envoyHidden(found.hidden);
    this.#supervisor.onEnvoySeen(admin);
    this.#notes?.noteEnvoySeen();
    this.#envoyAdmin = admin;
    this.#rotation?.onEnvoySeen(admin);
    await this.#noteConfigured(admin);
    if (this.#service !== undefined) await this.#tellServing(this.#service, admin);
    if (this.#prepared !== undefined) await this.#announceServing(this.#prepared, admin);
  }

  async #noteConfigured(admin: EnvoyAdmin | undefined): Promise<void> {
    const over = this.#over.signal;
    const seenAtMs = this.#clock.monotonicMs();
    // A control plane that accepts it does so within this.
    const onMissing = (): void => {
      const sinceMs = this.#clock.monotonicMs() - seenAtMs;
      if (sinceMs >= ACCEPTANCE_MS) this.#prepared?.keeper.onConfiguration('missing');
    };
    await untilConfigured(this.#clock, admin, { onMissing, over });
    await this.#dataplane.promise;
    this.#prepared?.keeper.onConfiguration('given');
  }

  /** Where kuma-dp runs elsewhere, its Envoy is not to be found below it. */
  #envoyFinder(): EnvoyFinder {
    const { argv, env } = this.#request;
    const elsewhere = obstaclesOf(argv, env).find(({ hides }) => hides);
    if (elsewhere === undefined) return envoyFinder(this.#clock);
    return { find: () => Promise.resolve({ hidden: `"${elsewhere.program}" ${elsewhere.says}` }) };
  }

  /** kuma-dp starts its Envoy when it is ready itself, so Envoy's listeners say it of both. */
  async #tellServing(service: ServiceNotices, admin: EnvoyAdmin | undefined): Promise<void> {
    const resource = this.#prepared?.identity.resource;
    await untilUp(this.#clock, admin, { resource, over: this.#over.signal });
    service.onServing();
  }

  async #announceServing(prepared: PreparedDataplane, admin: EnvoyAdmin | undefined): Promise<void> {
    const { keeper, attachment, identity } = prepared;
    const { resource } = identity;
    if (resource === undefined) return;
    await untilUp(this.#clock, admin, { resource, over: this.#over.signal });
    attachment?.onServing();
    keeper.onServing();
  }

  #takeNotes({ initialState, host, stateFile, endpoints }: PreparedDataplane): StateNotes {
    return new StateNotes(initialState, {
      events: this.#events,
      host,
      facts: () => endpoints.facts,
      write: (state) => stateFile.write(state),
    });
  }

  async #finish(report: StopReport | undefined): Promise<void> {
    const { reportFile, onCrash } = this.#request.options;
    // Without a deregister step the object was meant to stay.
    const keep = onCrash === 'keep' && report?.steps.every(({ step }) => step !== 'deregister') === true;
    const heard =
      report === undefined
        ? undefined
        : this.#prepared?.attachment?.finish({ report: JSON.stringify(report), keep });
    if (report !== undefined && reportFile !== undefined) {
      await appendReport(reportFile, report).catch(this.#events.reportUnwritable);
    }
    await Promise.all([this.#notes?.written, this.#metrics?.onEnd(), heard]);
  }
}
