import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ControlPlane, TLS_FIXTURES } from '../kuma/control-plane.ts';
import { DataplaneTokens } from '../kuma/dataplane-tokens.ts';
import type { ControlPlaneOptions } from '../kuma/settings.ts';
import { ClientEnvoy } from '../world/client-envoy.ts';
import {
  dataplaneCommand,
  type DataplaneCommand,
  type DataplaneOptions,
} from '../world/dataplane-command.ts';
import { HttpApplication } from '../world/http-application.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';
import { BootedSystemd, type BootOptions } from './booted-systemd.ts';

export interface MeshHostOptions extends BootOptions {
  readonly controlPlane?: ControlPlaneOptions;
}

export interface HostedOptions extends Pick<DataplaneOptions, 'drainTime'> {
  /** `kuma-dp`, or `kuma-dp@NAME`, whose files are named after NAME. */
  readonly unit: string;
  /** Where its application listens; one that answers is started here if left out. */
  readonly servicePort?: number;
  /** More lines of the unit's environment file. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A dataplane that a unit of a booted host runs. */
export interface Hosted {
  readonly name: string;
  /** With its suffix. */
  readonly unit: string;
  readonly command: DataplaneCommand;
}

const SERVICE = 'backend';

/**
 * A host with a booted systemd on which the packages are installed, an emulated control plane, and a peer's real Envoy
 * that balances over the dataplanes without retries.
 */
export class MeshHost implements AsyncDisposable {
  readonly systemd: BootedSystemd;
  readonly controlPlane: ControlPlane;
  readonly client: ClientEnvoy;
  readonly #applications = new Map<string, HttpApplication>();
  readonly #disposables: AsyncDisposableStack;

  private constructor(
    parts: Pick<MeshHost, 'systemd' | 'controlPlane' | 'client'>,
    disposables: AsyncDisposableStack,
  ) {
    this.systemd = parts.systemd;
    this.controlPlane = parts.controlPlane;
    this.client = parts.client;
    this.#disposables = disposables;
  }

  static async boot({ controlPlane: settings = {}, ...boot }: MeshHostOptions): Promise<MeshHost> {
    await using disposables = new AsyncDisposableStack();
    const endpointsDir = disposables.use(new TemporaryDir()).join('eds');
    const controlPlane = disposables.use(await ControlPlane.start({ ...settings, endpointsDir }));
    const client = disposables.use(await ClientEnvoy.start({ service: SERVICE, endpointsDir }));
    const systemd = disposables.use(await BootedSystemd.boot(boot));
    await systemd.write('/etc/kuma-dp/ca.crt', readFileSync(join(TLS_FIXTURES, 'ca.crt'), 'utf8'));
    return new MeshHost({ systemd, controlPlane, client }, disposables.move());
  }

  /** Writes what a unit of ours reads; does not start it. */
  async addDataplane(name: string, options: HostedOptions): Promise<Hosted> {
    const { unit, drainTime = '30s', env = {} } = options;
    const servicePort = options.servicePort ?? (await this.#application(name)).port;
    const command = await dataplaneCommand({
      controlPlaneUrl: this.controlPlane.dataplaneUrl,
      name,
      service: SERVICE,
      servicePort,
      drainTime,
      workDir: `/tmp/${name}`,
    });
    const [, instance = ''] = unit.split('@');
    const settings = {
      KUMA_CONTROL_PLANE_URL: this.controlPlane.dataplaneUrl,
      KUMA_DATAPLANE_DRAIN_TIME: drainTime,
      KUMA_DNS_ENABLED: 'false',
      KUMA_DP_AGENT_ENDPOINT: this.controlPlane.httpsUrl,
      KUMA_READINESS_PORT: String(command.readinessPort),
      ...env,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
    const files =
      instance === ''
        ? { resource: 'dataplane', token: 'token', defaults: 'kuma-dp' }
        : { resource: instance, token: `${instance}.token`, defaults: `kuma-dp-${instance}` };
    await this.systemd.write(`/etc/kuma-dp/${files.resource}.yaml`, JSON.stringify(command.resource));
    const { store, settings: controlPlaneSettings } = this.controlPlane;
    const token = new DataplaneTokens(store, controlPlaneSettings).issue({ mesh: 'default', name });
    await this.systemd.write(`/etc/kuma-dp/${files.token}`, token ?? '');
    await this.systemd.write(`/etc/default/${files.defaults}`, lines.join(''));
    return { name, unit: `${unit}.service`, command };
  }

  /** The application that was started for it here. */
  application(name: string): HttpApplication {
    const application = this.#applications.get(name);
    if (application === undefined) throw new Error(`No application was started for ${name}`);
    return application;
  }

  /** Waits until systemd shows a status of the unit that matches, as `systemctl status` would. */
  async untilStatus({ unit }: Hosted, wanted: RegExp): Promise<void> {
    await waitUntil(async () => wanted.test(await this.systemd.property(unit, 'StatusText')), {
      what: `the status of ${unit} to be ${String(wanted)}`,
    });
  }

  /** Paths of the objects that were deleted over REST, in order. */
  get deletedOverRest(): readonly string[] {
    return this.controlPlane.journal.matching('DELETE', /./).map(({ path }) => path);
  }

  /** Waits until the peer's list is exactly these dataplanes. */
  async untilListed(dataplanes: readonly Hosted[]): Promise<void> {
    const wanted = dataplanes.map(({ command }) => command.endpoint).toSorted();
    await waitUntil(async () => String(await this.client.endpoints()) === String(wanted), {
      what: `the peer to list ${dataplanes.map(({ name }) => name).join(', ') || 'nobody'}`,
      budgetMs: 30_000,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables[Symbol.asyncDispose]();
  }

  async #application(name: string): Promise<HttpApplication> {
    const application = this.#disposables.use(await HttpApplication.start({ name }));
    this.#applications.set(name, application);
    return application;
  }
}
