import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { envoyBinary } from '../../../scripts/install-envoy.ts';
import { formatDuration } from '../../../kernel/duration.ts';
import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { freePort } from '../world/free-port.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';
import { behaviourOf, type KumaBehaviour } from './behaviour.ts';
import {
  type KumaWorld,
  type Peer,
  type WorldDataplane,
  type WorldOptions,
  type WorldTiming,
  type WorldZoneProxy,
} from './kuma-world.ts';
import { emptyDatabase } from './postgres-server.ts';
import { RealControlPlane } from './real-control-plane.ts';
import { RealPeer } from './real-peer.ts';
import { meshPolicies } from './mesh-policies.ts';
import { placeInbounds, worldResource, zoneProxyResource } from './world-resource.ts';

export interface KumaBinaries {
  readonly controlPlane: string;
  readonly dataplane: string;
}

/** Kuma's own defaults. */
const TIMING: WorldTiming = {
  storeCacheMs: 1_000,
  refreshMs: 1_000,
  deregistrationDelayMs: 10_000,
  healthCheckIntervalMs: 1_000,
  healthReportIntervalMs: 5_000,
};

/** Real binaries of one version, its control plane on a database of its own where there is one. */
export class RealWorld implements KumaWorld {
  readonly version: string;
  readonly behaviour: KumaBehaviour;
  readonly timing: WorldTiming;
  readonly companionTls = 'of the control plane';
  readonly durable: boolean;
  readonly #controlPlanes: readonly RealControlPlane[];
  readonly #dir: TemporaryDir;
  readonly #binaries: KumaBinaries;
  readonly #disposables: AsyncDisposableStack;
  #adminToken: string | undefined;

  private constructor(parts: {
    readonly version: string;
    readonly durable: boolean;
    readonly timing: WorldTiming;
    readonly controlPlanes: readonly RealControlPlane[];
    readonly dir: TemporaryDir;
    readonly binaries: KumaBinaries;
    readonly disposables: AsyncDisposableStack;
  }) {
    this.version = parts.version;
    this.behaviour = behaviourOf(parts.version);
    this.durable = parts.durable;
    this.timing = parts.timing;
    this.#controlPlanes = parts.controlPlanes;
    this.#dir = parts.dir;
    this.#binaries = parts.binaries;
    this.#disposables = parts.disposables;
  }

  static async create(binaries: KumaBinaries, options: WorldOptions): Promise<RealWorld> {
    await using disposables = new AsyncDisposableStack();
    const version = await versionOf(binaries.controlPlane);
    const dir = disposables.use(new TemporaryDir());
    // Several zones cost enough without a database for each.
    const database =
      options.globalPort === undefined ? await emptyDatabase() : { missing: 'one of several zones' };
    const durable = !('missing' in database);
    if (durable) disposables.use(database);
    const { deregistrationDelayMs = TIMING.deregistrationDelayMs } = options;
    const timing = { ...TIMING, deregistrationDelayMs };
    const controlPlanes: RealControlPlane[] = [];
    for (let index = 0; index < (options.controlPlanes ?? 1); index += 1) {
      const controlPlane = disposables.use(
        await RealControlPlane.create({
          command: binaries.controlPlane,
          dir: dir.join(`cp-${index}`),
          database: durable ? database : undefined,
          // The front port has one name, so all control planes show one certificate.
          env: { ...environment(options, timing), ...controlPlanes[0]?.sharedCertificate },
        }),
      );
      await controlPlane.start();
      controlPlanes.push(controlPlane);
    }
    const parts = { version, durable, timing, controlPlanes, dir, binaries };
    const world = new RealWorld({ ...parts, disposables: disposables.move() });
    try {
      await world.#prepare(options);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  get restUrl(): string {
    return this.#controlPlane(0).restUrl;
  }

  get secureRestUrl(): string {
    return `https://127.0.0.1:${this.#controlPlane(0).ports.https}`;
  }

  get secureRestUrls(): readonly string[] {
    return this.#controlPlanes.map(({ ports }) => `https://127.0.0.1:${ports.https}`);
  }

  get dataplanePorts(): readonly number[] {
    return this.#controlPlanes.map(({ ports }) => ports.dataplane);
  }

  get caFile(): string {
    return this.#controlPlane(0).caFile;
  }

  join(...names: readonly string[]): string {
    return this.#dir.join(...names);
  }

  start(index = 0): Promise<void> {
    return this.#controlPlane(index).start();
  }

  stop(index = 0): Promise<void> {
    return this.#controlPlane(index).end('SIGTERM');
  }

  kill(index = 0): Promise<void> {
    return this.#controlPlane(index).end('SIGKILL');
  }

  freeze(index = 0): void {
    this.#controlPlane(index).signal('SIGSTOP');
  }

  thaw(index = 0): void {
    this.#controlPlane(index).signal('SIGCONT');
  }

  async dataplane(dataplane: WorldDataplane): Promise<DataplaneCommand> {
    const { name, drainTime = '30s', lifecycle = 'direct', controlPlane: index = 0 } = dataplane;
    const { controlPlanePort = this.#controlPlane(index).ports.dataplane } = dataplane;
    const inbounds = await placeInbounds(dataplane);
    const inboundPort = inbounds[0]?.port ?? 0;
    const adminPort = await freePort();
    const readinessPort = await freePort();
    const workDir = this.join(name);
    mkdirSync(workDir, { recursive: true });
    const tokenFile = this.join(`${name}.token`);
    writeFileSync(tokenFile, await this.#dataplaneToken(name), { mode: 0o600 });
    const resource = worldResource({ ...dataplane, adminPort }, inbounds, this.behaviour);
    const identity =
      lifecycle === 'direct'
        ? ['--dataplane', JSON.stringify(resource)]
        : ['--name', name, '--mesh', 'default'];
    return {
      command: this.#binaries.dataplane,
      argv: [
        'run',
        `--cp-address=https://127.0.0.1:${controlPlanePort}`,
        `--ca-cert-file=${this.caFile}`,
        `--dataplane-token-file=${tokenFile}`,
        ...identity,
        '--dns-enabled=false',
        `--binary-path=${await envoyBinary()}`,
        '--drain-time',
        drainTime,
        this.behaviour.workDirFlag,
        workDir,
      ],
      env: { KUMA_READINESS_PORT: String(readinessPort), TMPDIR: this.#dir.path },
      resource,
      inboundPort,
      endpoint: `${dataplane.address ?? '127.0.0.1'}:${inboundPort}`,
      readinessPort,
      adminSocket: join(workDir, 'kuma-envoy-admin.sock'),
      adminPort,
    };
  }

  async zoneProxy({
    name,
    kind,
    port,
    advertisedPort = port,
    ...rest
  }: WorldZoneProxy): Promise<DataplaneCommand> {
    const workDir = this.join(name);
    mkdirSync(workDir, { recursive: true });
    const resource = zoneProxyResource({ name, kind, port, advertisedPort });
    const readinessPort = await freePort();
    return {
      command: this.#binaries.dataplane,
      argv: [
        'run',
        `--proxy-type=${kind}`,
        `--cp-address=https://127.0.0.1:${this.#controlPlane(0).ports.dataplane}`,
        `--ca-cert-file=${this.caFile}`,
        '--dataplane',
        JSON.stringify(resource),
        '--dns-enabled=false',
        `--binary-path=${await envoyBinary()}`,
        '--drain-time',
        rest.drainTime ?? '30s',
        this.behaviour.workDirFlag,
        workDir,
      ],
      env: { KUMA_READINESS_PORT: String(readinessPort), TMPDIR: this.#dir.path },
      resource,
      inboundPort: port,
      endpoint: `127.0.0.1:${port}`,
      readinessPort,
      adminSocket: join(workDir, 'kuma-envoy-admin.sock'),
      adminPort: 0,
    };
  }

  async peer(service: string): Promise<Peer> {
    return this.#disposables.use(await RealPeer.start(this, service));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables.disposeAsync();
  }

  #controlPlane(index: number): RealControlPlane {
    const controlPlane = this.#controlPlanes[index];
    if (controlPlane === undefined) throw new Error(`No control plane ${index}`);
    return controlPlane;
  }

  /** As an administrator, since callers on loopback are ones until told otherwise. */
  async #prepare({ localhostIsAdmin = true, ...options }: WorldOptions): Promise<void> {
    // The mesh of several zones is the global control plane's, and comes to them from there.
    if (options.globalPort === undefined) {
      for (const { path, body } of meshPolicies(options)) await this.#accepted('PUT', path, body);
    }
    // The mesh's signing key is made a moment later.
    await waitUntil(() => this.#dataplaneToken('probe'), { what: 'dataplane tokens to be issued' });
    if (localhostIsAdmin) return;
    const path = '/global-secrets/admin-user-token';
    const secret = await waitUntil(() => this.#accepted('GET', path), { what: 'the administrator’s token' });
    this.#adminToken = Buffer.from((JSON.parse(secret) as { data: string }).data, 'base64').toString();
    await this.stop();
    this.#controlPlane(0).set({ KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN: 'false' });
    await this.start();
  }

  #dataplaneToken(name: string): Promise<string> {
    return this.#accepted('POST', '/tokens/dataplane', {
      name,
      mesh: 'default',
      type: 'dataplane',
      validFor: '24h',
    });
  }

  async #accepted(method: string, path: string, body?: unknown): Promise<string> {
    const response = await fetch(`${this.restUrl}${path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(this.#adminToken === undefined ? {} : { authorization: `Bearer ${this.#adminToken}` }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text;
  }
}

function environment(options: WorldOptions, timing: WorldTiming): Readonly<Record<string, string>> {
  return {
    KUMA_DP_SERVER_HDS_ENABLED: String(options.healthFeedback ?? true),
    KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY: formatDuration(timing.deregistrationDelayMs),
    KUMA_MODE: options.mode ?? 'zone',
    ...(options.zone === undefined ? {} : { KUMA_MULTIZONE_ZONE_NAME: options.zone }),
    ...(options.globalPort === undefined ? {} : zoneOf(options.globalPort, options.kdsFlushMs)),
    ...(options.idleTimeoutMs === undefined
      ? {}
      : { KUMA_METRICS_DATAPLANE_IDLE_TIMEOUT: formatDuration(options.idleTimeoutMs) }),
  };
}

function zoneOf(globalPort: number, kdsFlushMs: number | undefined): Readonly<Record<string, string>> {
  return {
    KUMA_MULTIZONE_ZONE_GLOBAL_ADDRESS: `grpcs://127.0.0.1:${globalPort}`,
    KUMA_MULTIZONE_ZONE_KDS_TLS_SKIP_VERIFY: 'true',
    KUMA_DP_SERVER_AUTHN_ZONE_PROXY_TYPE: 'none',
    ...eventBased(kdsFlushMs),
  };
}

/** KDS of either side. */
export function eventBased(flushMs: number | undefined): Readonly<Record<string, string>> {
  if (flushMs === undefined) return {};
  return {
    KUMA_EXPERIMENTAL_KDS_EVENT_BASED_WATCHDOG_ENABLED: 'true',
    KUMA_EXPERIMENTAL_KDS_EVENT_BASED_WATCHDOG_FLUSH_INTERVAL: formatDuration(flushMs),
  };
}

/** `kuma-cp version` says `Kuma: 2.14.3`. */
export async function versionOf(command: string): Promise<string> {
  const { stdout } = await promisify(execFile)(command, ['version']);
  const version = /(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`${command} says no version: ${stdout}`);
  return version;
}
