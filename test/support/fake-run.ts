import { agentEvents } from '../../agent/events.ts';
import type { ChildExit } from '../../agent/child/exit-status.pure.ts';
import type { StateNote, StopReport } from '../../agent/stop/stop-report.pure.ts';
import { Endpoints, type EndpointsDeps } from '../../agent/object/endpoints.ts';
import { ObjectKeeper, type ObjectKeeperDeps } from '../../agent/object/keeper.ts';
import { RunFacts, type SupervisedDataplane } from '../../agent/stop/run-facts.ts';
import { Supervisor, type SupervisorDeps } from '../../agent/stop/supervisor.ts';
import type { StopEvidence } from '../../agent/ports.ts';
import { FakeChild } from './fake-child.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeEndpoint } from './fake-endpoint.ts';
import { FakeEnvoyAdmin } from './fake-envoy-admin.ts';
import { FakeLog } from './fake-log.ts';

/** A host without any evidence. */
export const NO_EVIDENCE: StopEvidence = {
  probe: () => Promise.resolve('unknown'),
  isRestart: () => Promise.resolve(false),
  ownConnections: () => new Set(),
};

export interface FakeRunOptions {
  readonly replies?: ConstructorParameters<typeof FakeEndpoint>[2];
  readonly keeper?: Partial<ObjectKeeperDeps>;
  readonly endpoints?: Partial<EndpointsDeps>;
  readonly dataplane?: Partial<SupervisedDataplane>;
  readonly supervisor?: Partial<SupervisorDeps>;
}

/** One run of the agent on fakes: the supervisor and the keeper are real, everything outside them is a fake. */
export class FakeRun {
  readonly clock = new FakeClock();
  readonly log = new FakeLog();
  readonly child: FakeChild = FakeChild.kumaDp(this.clock);
  readonly admin = new FakeEnvoyAdmin();
  readonly endpoint: FakeEndpoint;
  /** In their order; a test may add more before the stop. */
  readonly all: FakeEndpoint[] = [];
  readonly endpoints: Endpoints;
  readonly keeper: ObjectKeeper;
  readonly facts = new RunFacts('run-1');
  readonly supervisor: Supervisor;
  readonly notes: StateNote[] = [];
  readonly reports: StopReport[] = [];
  ended: { readonly exit: ChildExit; readonly atMs: number } | undefined;

  constructor(options: FakeRunOptions = {}) {
    const events = agentEvents(this.log);
    this.endpoint = new FakeEndpoint(this.clock, 'https://cp:5682', options.replies);
    const key = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
    const shared = { clock: this.clock, events, random: () => 0.5 };
    this.all.push(this.endpoint);
    const ways = { ...shared, endpoints: this.all, key, settle: 'auto' } as const;
    this.endpoints = new Endpoints({ ...ways, ...options.endpoints });
    this.keeper = new ObjectKeeper({
      ...shared,
      endpoints: this.endpoints,
      departure: { key, own: { incarnation: 'run-1', address: '10.0.0.1' } },
      template: undefined,
      mayDelete: true,
      ...options.keeper,
    });
    this.supervisor = new Supervisor({
      clock: this.clock,
      events,
      facts: this.facts,
      stopBudgetMs: 60_000,
      onCrash: 'deregister',
      untilLeft: () => Promise.resolve(),
      outboundHold: 'auto',
      externalDrainMs: undefined,
      host: NO_EVIDENCE,
      ...options.supervisor,
    });
    this.facts.dataplane.set({
      label: 'default/web-1',
      lifecycle: 'cp',
      registration: this.keeper,
      unregisteredBecause: '',
      readiness: { isTerminating: () => Promise.resolve(false) },
      proxy: { kind: 'sidecar', isGuess: false, drainTimeMs: 30_000, applicationPorts: [] },
      notes: { note: (note) => this.notes.push(note) },
      ...options.dataplane,
    });
    void this.supervisor.ended.then(({ exit, report }) => {
      if (report !== undefined) this.reports.push(report);
      this.ended = { exit, atMs: this.clock.monotonicMs() };
    });
  }

  /** kuma-dp was started, and with it its Envoy. */
  serve(): void {
    this.supervisor.onSpawned(this.child, this.child.exited);
    this.supervisor.onEnvoySeen(this.admin);
  }

  signal(...signals: readonly NodeJS.Signals[]): void {
    for (const signal of signals) this.supervisor.onSignal(signal);
  }

  async untilEnded(): Promise<{ readonly exit: ChildExit; readonly atMs: number }> {
    await this.clock.passUntil(() => this.ended !== undefined);
    return this.ended ?? { exit: { code: 0, signal: null }, atMs: Number.NaN };
  }

  /** The signals that kuma-dp received, as `SIGTERM 2250`. */
  get sent(): readonly string[] {
    return this.child.signals.map(({ signal, atMs }) => `${signal} ${atMs}`);
  }
}
