import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

import type { HostState, ProcessRef } from '../../agent/state/host-state.pure.ts';
import { AgentProcess, type AgentOptions, CHILD } from './agent-process.ts';
import { type ControlPlane } from './kuma/control-plane.ts';
import { type LifecycleEvent, type SeenRequest } from './kuma/journal.ts';
import { type ResourceKey } from './kuma/store.ts';
import { timestampNow } from './kuma/timestamp.ts';
import { ChildLog, type ChildPlan } from './signal-child.ts';
import { TemporaryDir } from './world/temporary-dir.ts';
import { waitUntil } from './world/wait-until.ts';

export interface SceneOptions {
  readonly controlPlane: ControlPlane;
  readonly child?: ChildPlan;
  /** A simple child instead: `CHILD_MODE` of `test/fixtures/children/child`. */
  readonly mode?: string;
  /** Options of `kuma-dp-agent run` beside those that every scene needs. */
  readonly options?: readonly string[];
  /** Replaces the control plane's own URL. */
  readonly endpoints?: readonly string[];
  /** Options of `kuma-dp run`. */
  readonly kumaDpOptions?: readonly string[];
  readonly name?: string;
  /** Where the agent and the child are, if not in the clone. */
  readonly programs?: { readonly bin: string; readonly child: string };
  /** Whether the object exists, as if kuma-dp's control plane had made it. Yes if left out. */
  readonly put?: boolean;
}

/** One agent, one child, one Dataplane object of their own; the control plane may be shared. */
export class SignalScene implements AsyncDisposable {
  readonly name: string;
  readonly dir = new TemporaryDir();
  readonly child: ChildLog;
  readonly controlPlane: ControlPlane;
  readonly #options: SceneOptions;
  readonly #agents: AgentProcess[] = [];

  constructor(options: SceneOptions) {
    this.#options = options;
    this.controlPlane = options.controlPlane;
    this.name = options.name ?? `web-${randomBytes(4).toString('hex')}`;
    this.child = new ChildLog(this.dir.path);
    writeFileSync(this.resourceFile, JSON.stringify(this.resource));
    if (options.put !== false) this.put();
  }

  get key(): ResourceKey {
    return { type: 'Dataplane', mesh: 'default', name: this.name };
  }

  get resource(): Readonly<Record<string, unknown>> {
    return { type: 'Dataplane', mesh: 'default', name: this.name, networking: NETWORKING };
  }

  get resourceFile(): string {
    return this.dir.join('dataplane.yaml');
  }

  get stateDir(): string {
    return this.dir.join('state');
  }

  get stateFile(): string {
    return this.dir.join('state', `dataplane~default~${this.name}.json`);
  }

  /** Matches every path of the object in the control plane's journal and faults. */
  get path(): string {
    return `/dataplanes/${this.name}(/|\\?|$)`;
  }

  /** The agent's state file of its run. */
  readState(): HostState {
    return JSON.parse(readFileSync(this.stateFile, 'utf8')) as HostState;
  }

  /**
   * Waits until the state file names kuma-dp and has all facts that pace a next start: the control plane's
   * deregistration delay, and that Envoy was connected.
   */
  async untilPaced(delayMs: number): Promise<HostState & { readonly kumaDp: ProcessRef }> {
    return waitUntil(
      () => {
        const state = this.readState();
        const { kumaDp, connected, deregistrationDelayMs } = state;
        const isPaced = connected === true && deregistrationDelayMs === delayMs;
        return isPaced && kumaDp !== undefined ? { ...state, kumaDp } : undefined;
      },
      { what: 'a state that paces the next start' },
    );
  }

  get isThere(): boolean {
    return this.controlPlane.store.find(this.key) !== undefined;
  }

  get deletions(): readonly LifecycleEvent[] {
    return this.controlPlane.journal.events.filter(
      ({ kind, subject }) => kind === 'deleted' && subject === `default/${this.name}`,
    );
  }

  requests(method: string): readonly SeenRequest[] {
    return this.controlPlane.journal.matching(method, new RegExp(this.path));
  }

  /** Writes the object as the control plane does when kuma-dp connects. */
  put(): void {
    const now = timestampNow(6);
    const spec = { networking: NETWORKING };
    this.controlPlane.store.save({
      ...this.key,
      creationTime: now,
      modificationTime: now,
      labels: {},
      spec,
    });
  }

  /** Creates the object again as a control plane does that has restarted: its only subscription ends, or is online. */
  recreate(subscription: 'ended' | 'online', connectedAgoMs = 0): void {
    this.put();
    this.controlPlane.store.saveInsight(this.key, {
      subscriptions: [
        {
          id: `subscription-${this.name}`,
          controlPlaneInstanceId: 'another-instance',
          connectTime: new Date(Date.now() - connectedAgoMs).toISOString(),
          ...(subscription === 'ended' ? { disconnectTime: timestampNow(9) } : {}),
        },
      ],
    });
  }

  get runArgv(): readonly string[] {
    const {
      endpoints = [this.controlPlane.httpUrl],
      options = [],
      kumaDpOptions = [],
      programs,
    } = this.#options;
    return [
      'run',
      ...endpoints.map((url) => `--endpoint=${url}`),
      `--state-dir=${this.stateDir}`,
      ...options,
      '--',
      programs?.child ?? CHILD,
      'run',
      '--cp-address=https://127.0.0.1:5678',
      `--dataplane-file=${this.resourceFile}`,
      ...kumaDpOptions,
    ];
  }

  get childEnvironment(): Record<string, string> {
    const { child = {}, mode } = this.#options;
    mkdirSync(this.dir.path, { recursive: true });
    const environment = this.child.environment(child, this.dir.path);
    const { readinessPort } = child;
    return {
      ...environment,
      // No process listens on port 1; the default port may be in use.
      KUMA_READINESS_PORT: String(readinessPort ?? 1),
      ...(mode === undefined ? {} : { CHILD_MODE: mode }),
    };
  }

  async start(overrides: Partial<AgentOptions> = {}): Promise<AgentProcess> {
    const env = { ...this.childEnvironment, ...overrides.env };
    return this.agent(this.runArgv, { ...overrides, env });
  }

  /** Any command of the agent, not wrapped around a child. */
  async agent(argv: readonly string[], overrides: Partial<AgentOptions> = {}): Promise<AgentProcess> {
    const { programs } = this.#options;
    const bin = programs === undefined ? {} : { bin: programs.bin };
    const agent = await AgentProcess.start({ argv, ...bin, ...overrides });
    this.#agents.push(agent);
    return agent;
  }

  /**
   * Waits until the agent is as long before a stop: endpoints were reached, the child is ready and its Envoy was
   * seen.
   */
  async untilRunning(agent: AgentProcess, reached = 1): Promise<void> {
    await this.child.waitFor('ready');
    const envoy = this.#options.child?.envoy;
    if (envoy === 'admin') await this.child.waitFor('envoy-seen');
    if (envoy === 'hidden') await agent.waitForEvent('envoy.hidden');
    if (reached > 0) await agent.waitForEvent('endpoint.reached', { count: reached });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (const agent of this.#agents) {
      await agent[Symbol.asyncDispose]().catch((error: unknown) => failures.push(error));
    }
    this.dir[Symbol.dispose]();
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '));
  }
}

const NETWORKING = {
  address: '127.0.0.1',
  inbound: [{ port: 20_001, tags: { 'kuma.io/service': 'backend' } }],
};
