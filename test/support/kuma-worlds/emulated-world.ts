import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ControlPlane, ensureEndpointsFile, TLS_CERTIFICATE, TLS_FIXTURES } from '../kuma/control-plane.ts';
import { DataplaneTokens } from '../kuma/dataplane-tokens.ts';
import { egressDir } from '../kuma/endpoints-file.ts';
import { type Federation } from '../kuma/federation.ts';
import { type KumaVersion } from '../kuma/version-traits.ts';
import { ClientEnvoy } from '../world/client-envoy.ts';
import { dataplaneCommand, type DataplaneCommand } from '../world/dataplane-command.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { behaviourOf, type KumaBehaviour } from './behaviour.ts';
import {
  type KumaWorld,
  type Peer,
  type WorldDataplane,
  type WorldOptions,
  type WorldTiming,
  type WorldZoneProxy,
} from './kuma-world.ts';
import { placeInbounds, worldResource, zoneProxyResource } from './world-resource.ts';

/** Kuma's intervals made short: how they add up is the same. */
const TIMING: WorldTiming = {
  storeCacheMs: 200,
  refreshMs: 200,
  deregistrationDelayMs: 5_000,
  healthCheckIntervalMs: 200,
  healthReportIntervalMs: 500,
};

/** Kuma's defaults. */
const KUMAS_TIMING: WorldTiming = {
  storeCacheMs: 1_000,
  refreshMs: 1_000,
  deregistrationDelayMs: 10_000,
  healthCheckIntervalMs: 1_000,
  healthReportIntervalMs: 5_000,
};

/** The emulator as a world. */
export class EmulatedWorld implements KumaWorld {
  readonly version: string;
  readonly behaviour: KumaBehaviour;
  readonly timing: WorldTiming;
  readonly durable = true;
  readonly caFile = join(TLS_FIXTURES, 'ca.crt');
  readonly companionTls = TLS_CERTIFICATE;
  readonly #controlPlanes: readonly ControlPlane[];
  readonly #dir: TemporaryDir;
  readonly #disposables = new AsyncDisposableStack();

  private constructor(
    version: KumaVersion,
    timing: WorldTiming,
    parts: { readonly dir: TemporaryDir; readonly controlPlanes: readonly ControlPlane[] },
  ) {
    this.version = version;
    this.timing = timing;
    this.behaviour = behaviourOf(version);
    this.#dir = this.#disposables.use(parts.dir);
    this.#controlPlanes = parts.controlPlanes;
    for (const controlPlane of parts.controlPlanes) this.#disposables.use(controlPlane);
  }

  /** @param federation of the zone; a zone of its own if left out */
  static async create(
    version: KumaVersion,
    options: WorldOptions,
    federation?: Federation,
  ): Promise<EmulatedWorld> {
    const dir = new TemporaryDir();
    const { defaultTiming = false, controlPlanes: count = 1, deregistrationDelayMs, ...rest } = options;
    const own = defaultTiming ? KUMAS_TIMING : TIMING;
    const timing = deregistrationDelayMs === undefined ? own : { ...own, deregistrationDelayMs };
    const { zone, globalPort, ...known } = rest;
    const settings = {
      localhostIsAdmin: true,
      ...timing,
      ...known,
      version,
      ...(zone === undefined ? {} : { zone }),
      ...(globalPort === undefined ? {} : { globalAddress: `grpcs://127.0.0.1:${globalPort}` }),
    };
    const controlPlanes: ControlPlane[] = [];
    for (let index = 0; index < count; index += 1) {
      const [first] = controlPlanes;
      const endpointsDir = dir.join(`eds-${index}`);
      controlPlanes.push(await ControlPlane.start({ ...settings, endpointsDir }, first?.store, federation));
    }
    return new EmulatedWorld(version, timing, { dir, controlPlanes });
  }

  get restUrl(): string {
    return this.#controlPlane(0).httpUrl;
  }

  get secureRestUrl(): string {
    return this.#controlPlane(0).httpsUrl;
  }

  get secureRestUrls(): readonly string[] {
    return this.#controlPlanes.map(({ httpsUrl }) => httpsUrl);
  }

  get dataplanePorts(): readonly number[] {
    return this.#controlPlanes.map(({ ports }) => ports.dataplane);
  }

  join(...names: readonly string[]): string {
    return this.#dir.join(...names);
  }

  start(index = 0): Promise<void> {
    return this.#controlPlane(index).start();
  }

  stop(index = 0): Promise<void> {
    return this.#controlPlane(index).stop();
  }

  kill(index = 0): Promise<void> {
    return this.#controlPlane(index).crash();
  }

  freeze(index = 0): void {
    this.#controlPlane(index).pause();
  }

  thaw(index = 0): void {
    this.#controlPlane(index).resume();
  }

  async dataplane(dataplane: WorldDataplane): Promise<DataplaneCommand> {
    const { name, controlPlane: index = 0, controlPlanePort: port, outbounds = [] } = dataplane;
    const controlPlane = this.#controlPlane(index);
    for (const { service } of outbounds) controlPlane.endpointsFile(service);
    for (const { backend } of controlPlane.settings.gateways) controlPlane.endpointsFile(backend);
    const inbounds = await placeInbounds(dataplane);
    const command = await dataplaneCommand({
      ...dataplane,
      controlPlaneUrl: port === undefined ? controlPlane.dataplaneUrl : `https://127.0.0.1:${port}`,
      workDir: this.join(name),
      ...(inbounds[0] === undefined ? {} : { inboundPort: inbounds[0].port }),
    });
    const resource = worldResource({ ...dataplane, ...command }, inbounds, this.behaviour);
    const tokenFile = this.join(`${name}.token`);
    writeFileSync(tokenFile, this.#token(name), { mode: 0o600 });
    const argv = command.argv
      .map((argument) =>
        argument === JSON.stringify(command.resource) ? JSON.stringify(resource) : argument,
      )
      .map((argument) => (argument === '--work-dir' ? this.behaviour.workDirFlag : argument));
    const env = { ...command.env, KUMA_STAND_IN_VERSION: this.version, TMPDIR: this.#dir.path };
    return { ...command, resource, env, argv: [...argv, `--dataplane-token-file=${tokenFile}`] };
  }

  async zoneProxy({
    name,
    kind,
    port,
    advertisedPort = port,
    ...rest
  }: WorldZoneProxy): Promise<DataplaneCommand> {
    const controlPlane = this.#controlPlane(0);
    for (const service of rest.services) {
      controlPlane.endpointsFile(service);
      if (kind === 'egress') ensureEndpointsFile(egressDir(this.join('eds-0')), service);
    }
    const command = await dataplaneCommand({
      name,
      servicePort: 0,
      inboundPort: port,
      workDir: this.join(name),
      controlPlaneUrl: controlPlane.dataplaneUrl,
      ...(rest.drainTime === undefined ? {} : { drainTime: rest.drainTime }),
    });
    const resource = zoneProxyResource({ name, kind, port, advertisedPort });
    const argv = command.argv.map((argument) =>
      argument === JSON.stringify(command.resource) ? JSON.stringify(resource) : argument,
    );
    return { ...command, resource, argv: [...argv, `--proxy-type=${kind}`] };
  }

  #controlPlane(index: number): ControlPlane {
    const controlPlane = this.#controlPlanes[index];
    if (controlPlane === undefined) throw new Error(`No control plane ${index}`);
    return controlPlane;
  }

  #token(name: string): string {
    const { store, settings } = this.#controlPlane(0);
    const request = { name, mesh: 'default', type: 'dataplane', validFor: '24h' };
    const token = new DataplaneTokens(store, settings).issue(request);
    if (token === undefined) throw new Error('There is no mesh default');
    return token;
  }

  async peer(service: string): Promise<Peer> {
    const client = this.#disposables.use(
      await ClientEnvoy.start({ service, endpointsDir: this.join('eds-0') }),
    );
    return {
      port: client.ports.http1,
      endpoints: () => client.endpoints(),
      [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables.disposeAsync();
  }
}
