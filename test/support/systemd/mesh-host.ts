import { ControlPlane } from '../kuma/control-plane.ts';
import { DataplaneTokens } from '../kuma/dataplane-tokens.ts';
import type { ControlPlaneOptions } from '../kuma/settings.ts';
import { ClientEnvoy } from '../world/client-envoy.ts';
import { HttpApplication } from '../world/http-application.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';
import { BootedSystemd, type BootOptions } from './booted-systemd.ts';
import { installDataplane, type Hosted, type HostedOptions } from './hosted-dataplane.ts';

export interface MeshHostOptions extends BootOptions {
  readonly controlPlane?: ControlPlaneOptions;
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
    return new MeshHost({ systemd, controlPlane, client }, disposables.move());
  }

  /**
   * Writes the files that a unit of ours reads, and starts an application if none is named. Does not start the unit.
   */
  async addDataplane(name: string, options: HostedOptions): Promise<Hosted> {
    const servicePort = options.servicePort ?? (await this.#application(name)).port;
    const { dataplaneUrl, httpsUrl, store, settings } = this.controlPlane;
    const token = new DataplaneTokens(store, settings).issue({ mesh: 'default', name }) ?? '';
    const { systemd } = this;
    return installDataplane({
      systemd,
      name,
      dataplaneUrl,
      endpoint: httpsUrl,
      service: SERVICE,
      token,
      ...options,
      servicePort,
    });
  }

  /** Adds a dataplane, starts its unit, and waits until its peer lists it. */
  async serve(name: string, options: HostedOptions): Promise<Hosted> {
    const dataplane = await this.addDataplane(name, options);
    await this.systemd.systemctl('start', dataplane.unit);
    await waitUntil(async () => (await this.client.endpoints()).includes(dataplane.command.endpoint), {
      what: `the peer to list ${name}`,
      budgetMs: 30_000,
    });
    return dataplane;
  }

  /** A request in progress in its application, until that releases it. */
  async hold({ name, command }: Hosted): Promise<{ readonly status: Promise<number> }> {
    const url = `http://${command.endpoint}`;
    // An object that its control plane has created is listed before its Envoy listens.
    await waitUntil(async () => (await fetch(url)).ok, { what: `${name} to answer` });
    const status = fetch(`${url}/hold`).then((answer) => answer.status);
    status.catch(() => {
      // Every caller gets the error.
    });
    await waitUntil(() => this.application(name).active > 0, { what: 'the request to arrive' });
    return { status };
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

  /** Waits until systemd has started the unit again, once, and it serves. A peer's list may be a second old. */
  async untilRestarted({ unit }: Hosted): Promise<void> {
    const property = (name: string): Promise<string> => this.systemd.property(unit, name);
    await waitUntil(
      async () => (await property('NRestarts')) === '1' && (await property('ActiveState')) === 'active',
      { what: `systemd to have started ${unit} again`, budgetMs: 30_000 },
    );
  }

  /** Paths of the objects that were deleted over REST, in order. */
  get deletedOverRest(): readonly string[] {
    return this.controlPlane.journal.matching('DELETE', /./).map(({ path }) => path);
  }

  /** Waits until the peer's list is exactly these dataplanes. */
  async untilListed(dataplanes: readonly Hosted[]): Promise<void> {
    const wanted = dataplanes.map(({ command }) => command.endpoint).toSorted();
    await waitUntil(async () => String(await this.client.endpoints()) === String(wanted), {
      what: `the peer to list ${dataplanes.map(({ name }) => name).join(', ') || 'no dataplane'}`,
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
