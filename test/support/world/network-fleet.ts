import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

import { CompanionProcess } from '../companion-process.ts';
import { ControlPlane, TLS_CERTIFICATE } from '../kuma/control-plane.ts';
import type { ControlPlaneOptions } from '../kuma/settings.ts';
import { DataplaneTokens } from '../kuma/dataplane-tokens.ts';
import { NetworkHosts, type NetworkHost } from '../namespaces.ts';
import { scrape } from '../scrape.ts';
import { ClientEnvoy } from './client-envoy.ts';
import { dataplaneCommand, type DataplaneCommand } from './dataplane-command.ts';
import { EndpointWatcher } from './endpoint-watcher.ts';
import { AGENT } from './fleet.ts';
import { freePort } from './free-port.ts';
import { INSTANCE_HEADER } from './http-application.ts';
import { runOn } from './host-process.ts';
import type { ManagedProcess } from './managed-process.ts';
import { losePower } from './power-loss.ts';
import { TemporaryDir } from './temporary-dir.ts';
import { waitUntil } from './wait-until.ts';

const SERVICE = 'backend';
const MESH = 'default';
export const APPLICATION_PORT = 8_080;

/** Answers every request with its name. */
export const APPLICATION = `
  const [name] = process.argv.slice(1);
  require('node:http')
    .createServer((request, response) => response.setHeader('${INSTANCE_HEADER}', name).end(name))
    .listen(${APPLICATION_PORT}, '127.0.0.1', () => console.log('listening'));
`;

export interface NetworkFleetOptions {
  readonly names: readonly string[];
  /** `bare`: without agents and without a companion. */
  readonly with: 'bare' | 'companion';
  /** Further arguments of the companion's `serve`. */
  readonly companionArgv?: readonly string[];
  readonly agentArgv?: readonly string[];
  readonly healthFeedback?: boolean;
  readonly controlPlane?: ControlPlaneOptions;
}

/** One instance on a host of its own. */
export interface NetworkInstance {
  readonly name: string;
  readonly host: NetworkHost;
  readonly command: DataplaneCommand;
  readonly process: ManagedProcess;
}

/**
 * Instances of one service, each on a host of its own: a network namespace with a real Envoy, kuma-dp's stand-in and the
 * agent. The control plane, the companion and a peer's Envoy run on this host.
 */
export class NetworkFleet implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly client: ClientEnvoy;
  readonly companion: CompanionProcess | undefined;
  readonly instances: NetworkInstance[] = [];
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.controlPlane = parts.controlPlane;
    this.client = parts.client;
    this.companion = parts.companion;
  }

  /** Starts everything, and waits until the peer lists every instance. */
  static async start(options: NetworkFleetOptions): Promise<NetworkFleet> {
    await using opening = new AsyncDisposableStack();
    const hosts = opening.use(new NetworkHosts());
    const dir = opening.use(new TemporaryDir());
    const endpointsDir = dir.join('eds');
    const { healthFeedback = true } = options;
    const controlPlane = opening.use(
      await ControlPlane.start({
        host: hosts.address,
        endpointsDir,
        healthFeedback,
        ...options.controlPlane,
      }),
    );
    const client = opening.use(await ClientEnvoy.start({ service: SERVICE, endpointsDir }));
    const tokens = new DataplaneTokens(controlPlane.store, controlPlane.settings);
    const world = { hosts, dir, controlPlane, client, tokens };
    const companion = options.with === 'bare' ? undefined : opening.use(await startCompanion(world, options));
    const fleet = new NetworkFleet({ ...world, options, companion, disposables: opening.move() });
    await fleet.#startInstances();
    return fleet;
  }

  /** Of the control plane, the companion and the peer. */
  get address(): string {
    return this.#parts.hosts.address;
  }

  instance(name: string): NetworkInstance {
    const found = this.instances.find((one) => one.name === name);
    if (found === undefined) throw new Error(`No instance ${name}`);
    return found;
  }

  watch(): EndpointWatcher {
    return this.#parts.disposables.use(new EndpointWatcher(this.client));
  }

  /** What the processes said, for the message of a test that failed. */
  get said(): string {
    return saidBy(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process: one } of this.instances) if (one.running) await losePower(one);
    await this.#parts.disposables[Symbol.asyncDispose]();
  }

  async #startInstances(): Promise<void> {
    const { names } = this.#parts.options;
    for (const name of names) this.instances.push(await this.#startInstance(name));
    const wanted = this.instances.map(({ command }) => command.endpoint).toSorted();
    await waitUntil(async () => String((await this.client.endpoints()).toSorted()) === String(wanted), {
      what: () => `the peer to list ${names.join(', ')}; they said: ${this.said}`,
      budgetMs: 60_000,
    });
  }

  async #startInstance(name: string): Promise<NetworkInstance> {
    const { hosts, dir, controlPlane, tokens, options, companion, disposables } = this.#parts;
    const host = hosts.add();
    const application = disposables.use(runOn(host, [process.execPath, '--eval', APPLICATION, name]));
    await application.waitForOutput('listening');
    const command = await dataplaneCommand({
      controlPlaneUrl: controlPlane.dataplaneUrl,
      name,
      service: SERVICE,
      servicePort: APPLICATION_PORT,
      workDir: dir.join(name),
      address: host.address,
    });
    const token = tokens.issue({ name, mesh: MESH });
    const kumaDp = [command.command, ...command.argv, '--skip-verify', `--dataplane-token=${token}`];
    const endpoint = companion === undefined ? '' : `grpcs://${companion.address}`;
    const agent = [AGENT, 'run', '--endpoint', endpoint, '--state-dir', dir.join(`state-${name}`)];
    const argv = companion === undefined ? kumaDp : [...agent, ...(options.agentArgv ?? []), '--', ...kumaDp];
    return { name, host, command, process: runOn(host, argv, command.env) };
  }
}

export interface Speaking {
  readonly companion: CompanionProcess | undefined;
  readonly instances: readonly { readonly name: string; readonly process: ManagedProcess }[];
}

export function saidBy({ companion, instances }: Speaking): string {
  const agents = instances.map(({ name, process: { stderr } }) => `${name}:\n${stderr.slice(-2_000)}`);
  const events = (companion?.events ?? []).slice(-60).map((event) => JSON.stringify(event));
  return [...events, ...agents].join('\n');
}

/** The companion looks for so many witnesses of each. */
const WITNESSES = 3;

/** Waits until each dataplane has been reached by others, or by as many as there are. */
export async function untilAcquainted(fleet: Speaking): Promise<void> {
  const { companion, instances } = fleet;
  if (companion === undefined) return;
  const looks = instances.length * Math.min(WITNESSES, instances.length - 1);
  const series = 'kuma_deregistrar_testimonies_total{result="reached"}';
  const { host } = new URL(companion.httpUrl);
  await waitUntil(async () => ((await scrape(host)).value(series) ?? 0) >= looks, {
    what: () => `${looks} looks that reached; they said: ${saidBy(fleet)}`,
    budgetMs: 60_000,
  });
  // They are written down together, after the last of a batch.
  await delay(1_000);
}

interface World {
  readonly hosts: NetworkHosts;
  readonly dir: TemporaryDir;
  readonly controlPlane: ControlPlane;
  readonly client: ClientEnvoy;
  readonly tokens: DataplaneTokens;
}

interface Parts extends World {
  readonly options: NetworkFleetOptions;
  readonly companion: CompanionProcess | undefined;
  readonly disposables: AsyncDisposableStack;
}

async function startCompanion(
  { hosts, dir, controlPlane, tokens }: World,
  { companionArgv = [] }: NetworkFleetOptions,
): Promise<CompanionProcess> {
  const { kid, pem } = tokens.publicKey(MESH);
  writeFileSync(dir.join('token-key.pem'), pem);
  return CompanionProcess.start({
    kumaApi: [controlPlane.httpUrl],
    dir: dir.path,
    listen: `${hosts.address}:${await freePort()}`,
    authn: 'token',
    publicKeys: [`${kid}=${dir.join('token-key.pem')}`],
    tls: TLS_CERTIFICATE,
    argv: companionArgv,
  });
}
