import { join } from 'node:path';

import { ControlPlane } from '../kuma/control-plane.ts';
import type { ControlPlaneOptions } from '../kuma/settings.ts';
import { acceptsConnections } from './accepts-connections.ts';
import { ClientEnvoy, type ClientProtocol } from './client-envoy.ts';
import { dataplaneCommand, type DataplaneCommand } from './dataplane-command.ts';
import { EchoApplication } from './echo-application.ts';
import { EndpointWatcher } from './endpoint-watcher.ts';
import { HttpApplication } from './http-application.ts';
import { ManagedProcess } from './managed-process.ts';
import { losePower } from './power-loss.ts';
import { TemporaryDir } from './temporary-dir.ts';
import { waitUntil } from './wait-until.ts';

/** The program under test; `KUMA_DP_AGENT_BIN` names another build of it. */
export const AGENT =
  process.env['KUMA_DP_AGENT_BIN'] ??
  join(import.meta.dirname, '..', '..', '..', 'dist', 'bin', 'kuma-dp-agent');

const SERVICE = 'backend';

export interface FleetOptions {
  readonly names: readonly string[];
  readonly protocol?: 'http' | 'http2' | 'tcp';
  readonly controlPlane?: ControlPlaneOptions;
}

/** How one instance is run: bare, or with the agent in front and these options of it. */
export type InstanceWrapping = 'bare' | { readonly agent: readonly string[] };

/** One application with its dataplane, which can be stopped and started again under the same name. */
export class Instance implements AsyncDisposable {
  readonly name: string;
  readonly command: DataplaneCommand;
  #process: ManagedProcess | undefined;
  #disposed = false;

  constructor(name: string, command: DataplaneCommand) {
    this.name = name;
    this.command = command;
  }

  get process(): ManagedProcess {
    if (this.#process === undefined) throw new Error(`${this.name} was not started`);
    return this.#process;
  }

  start(wrapping: InstanceWrapping, extraEnv: Readonly<Record<string, string>> = {}): ManagedProcess {
    if (this.#disposed) throw new Error(`${this.name} is not to be started any more`);
    const { command, argv, env } = this.command;
    const [program, args] =
      wrapping === 'bare' ? [command, argv] : [AGENT, ['run', ...wrapping.agent, '--', command, ...argv]];
    this.#process = new ManagedProcess({ command: program, argv: args, env: { ...env, ...extraEnv } });
    return this.#process;
  }

  /** Whether its own Envoy accepts connections. */
  listens(): Promise<boolean> {
    return acceptsConnections(this.command.inboundPort);
  }

  /** Kills every process that still runs: kuma-dp as well, which would otherwise drain for half a minute. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    if (this.#process?.running === true) await losePower(this.#process);
  }

  /** Whether its own Envoy answers, without a peer in between. */
  async answers(): Promise<boolean> {
    try {
      const response = await fetch(`http://${this.command.endpoint}/`, {
        signal: AbortSignal.timeout(1_000),
      });
      await response.arrayBuffer();
      return response.ok;
    } catch {
      return false;
    }
  }
}

/**
 * A mesh on this machine: an emulated control plane, instances of one service with real Envoys, and a peer's real
 * Envoy that balances over them without retries.
 */
export class Fleet implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly client: ClientEnvoy;
  readonly instances: readonly Instance[];
  readonly stateDir: string;
  readonly #applications: ReadonlyMap<string, HttpApplication>;
  readonly #disposables: AsyncDisposableStack;

  private constructor(parts: {
    readonly controlPlane: ControlPlane;
    readonly client: ClientEnvoy;
    readonly instances: readonly Instance[];
    readonly applications: ReadonlyMap<string, HttpApplication>;
    readonly stateDir: string;
    readonly disposables: AsyncDisposableStack;
  }) {
    this.controlPlane = parts.controlPlane;
    this.client = parts.client;
    this.instances = parts.instances;
    this.stateDir = parts.stateDir;
    this.#applications = parts.applications;
    this.#disposables = parts.disposables;
  }

  static async create({
    names,
    protocol = 'http',
    controlPlane: options = {},
  }: FleetOptions): Promise<Fleet> {
    await using disposables = new AsyncDisposableStack();
    const dir = disposables.use(new TemporaryDir());
    const endpointsDir = dir.join('eds');
    const controlPlane = disposables.use(await ControlPlane.start({ ...options, endpointsDir }));
    const client = disposables.use(await ClientEnvoy.start({ service: SERVICE, endpointsDir }));
    const instances: Instance[] = [];
    const applications = new Map<string, HttpApplication>();
    for (const name of names) {
      const application =
        protocol === 'tcp' ? await EchoApplication.start({ name }) : await HttpApplication.start({ name });
      disposables.use(application);
      if (application instanceof HttpApplication) applications.set(name, application);
      const command = await dataplaneCommand({
        controlPlaneUrl: controlPlane.dataplaneUrl,
        name,
        service: SERVICE,
        protocol,
        servicePort: application.port,
        workDir: dir.join(name),
      });
      const instance = new Instance(name, command);
      instances.push(instance);
      disposables.use(instance);
    }
    const stateDir = dir.join('state');
    return new Fleet({
      controlPlane,
      client,
      instances,
      applications,
      stateDir,
      disposables: disposables.move(),
    });
  }

  /** Starts every instance, and waits until the peer lists all of them and each one serves. */
  async start(wrapping: InstanceWrapping): Promise<void> {
    for (const instance of this.instances) instance.start(wrapping);
    await this.untilListed();
    await this.untilServing();
  }

  /** The agent's options for this fleet; more may follow. */
  agent(...more: readonly string[]): InstanceWrapping {
    return { agent: ['--endpoint', this.controlPlane.httpUrl, '--state-dir', this.stateDir, ...more] };
  }

  instance(name: string): Instance {
    const found = this.instances.find((one) => one.name === name);
    if (found === undefined) throw new Error(`No instance ${name}`);
    return found;
  }

  /** The application behind an instance, where it speaks HTTP. */
  application(name: string): HttpApplication {
    const found = this.#applications.get(name);
    if (found === undefined) throw new Error(`No HTTP application ${name}`);
    return found;
  }

  watch(protocol: ClientProtocol = 'http1'): EndpointWatcher {
    return this.#disposables.use(new EndpointWatcher(this.client, protocol));
  }

  /** Waits until the peer's list is exactly these instances. */
  async untilListed(names: readonly string[] = this.instances.map(({ name }) => name)): Promise<void> {
    const wanted = names.map((name) => this.instance(name).command.endpoint).toSorted();
    await waitUntil(async () => String(await this.client.endpoints()) === String(wanted), {
      what: `the peer to list ${names.join(', ')}`,
      budgetMs: 30_000,
    });
  }

  /** Waits until every instance accepts connections: an object is listed before its Envoy listens. */
  async untilServing(): Promise<void> {
    for (const instance of this.instances) {
      await waitUntil(() => instance.listens(), {
        what: () => `${instance.name} to listen; it said: ${instance.process.stderr.slice(-3_000)}`,
        budgetMs: 60_000,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables[Symbol.asyncDispose]();
  }
}
