import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ControlPlane, TLS_FIXTURES } from '../kuma/control-plane.ts';
import { DataplaneTokens } from '../kuma/dataplane-tokens.ts';
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
} from './kuma-world.ts';
import { worldResource } from './world-resource.ts';

/** Kuma's intervals made short: how they add up is the same. */
const TIMING: WorldTiming = {
  storeCacheMs: 200,
  refreshMs: 200,
  deregistrationDelayMs: 5_000,
  healthCheckIntervalMs: 200,
  healthReportIntervalMs: 500,
};

/** The emulator as a world. */
export class EmulatedWorld implements KumaWorld {
  readonly version: string;
  readonly behaviour: KumaBehaviour;
  readonly timing = TIMING;
  readonly durable = true;
  readonly caFile = join(TLS_FIXTURES, 'ca.crt');
  readonly companionTls = {
    certificateFile: join(TLS_FIXTURES, 'server.crt'),
    keyFile: join(TLS_FIXTURES, 'server.key'),
  };
  readonly #controlPlane: ControlPlane;
  readonly #dir: TemporaryDir;
  readonly #disposables = new AsyncDisposableStack();

  private constructor(version: string, dir: TemporaryDir, controlPlane: ControlPlane) {
    this.version = version;
    this.behaviour = behaviourOf(version);
    this.#dir = this.#disposables.use(dir);
    this.#controlPlane = this.#disposables.use(controlPlane);
  }

  static async create(version: KumaVersion, options: WorldOptions): Promise<EmulatedWorld> {
    const dir = new TemporaryDir();
    const { healthFeedback = true, localhostIsAdmin = true, mode = 'zone', idleTimeoutMs } = options;
    const settings = {
      ...TIMING,
      version,
      healthFeedback,
      localhostIsAdmin,
      mode,
      ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    };
    return new EmulatedWorld(
      version,
      dir,
      await ControlPlane.start({ ...settings, endpointsDir: dir.join('eds') }),
    );
  }

  get restUrl(): string {
    return this.#controlPlane.httpUrl;
  }

  get secureRestUrl(): string {
    return this.#controlPlane.httpsUrl;
  }

  join(...names: readonly string[]): string {
    return this.#dir.join(...names);
  }

  start(): Promise<void> {
    return this.#controlPlane.start();
  }

  stop(): Promise<void> {
    return this.#controlPlane.stop();
  }

  kill(): Promise<void> {
    return this.#controlPlane.crash();
  }

  async dataplane(dataplane: WorldDataplane): Promise<DataplaneCommand> {
    const { name } = dataplane;
    const command = await dataplaneCommand({
      ...dataplane,
      controlPlaneUrl: this.#controlPlane.dataplaneUrl,
      workDir: this.join(name),
    });
    const resource = worldResource({ ...dataplane, ...command }, this.behaviour);
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

  #token(name: string): string {
    const { store, settings } = this.#controlPlane;
    const request = { name, mesh: 'default', type: 'dataplane', validFor: '24h' };
    const token = new DataplaneTokens(store, settings).issue(request);
    if (token === undefined) throw new Error('There is no mesh default');
    return token;
  }

  async peer(service: string): Promise<Peer> {
    const client = this.#disposables.use(
      await ClientEnvoy.start({ service, endpointsDir: this.join('eds') }),
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
