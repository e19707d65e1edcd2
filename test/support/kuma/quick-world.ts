import { ControlPlane } from './control-plane.ts';
import { type ControlPlaneOptions } from './settings.ts';
import { type StoredObject, type StoredSubscription } from './store.ts';
import { type DataplaneOptions } from '../world/dataplane-command.ts';
import { HttpApplication } from '../world/http-application.ts';
import { type RunningDataplane, startDataplane, waitUntilServing } from '../world/running-dataplane.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';

/** Kuma's intervals, a tenth to a twentieth of their defaults. */
const QUICK = {
  storeCacheMs: 100,
  refreshMs: 100,
  deregistrationDelayMs: 500,
  healthCheckIntervalMs: 100,
  healthReportIntervalMs: 300,
} as const satisfies ControlPlaneOptions;

/** A quick control plane, one application and a folder; dataplanes on demand. Disposing ends all of it. */
export class QuickWorld implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly application: HttpApplication;
  readonly dir: TemporaryDir;
  readonly #resources = new AsyncDisposableStack();

  private constructor(controlPlane: ControlPlane, application: HttpApplication, dir: TemporaryDir) {
    this.dir = dir;
    this.#resources.use(dir);
    this.controlPlane = this.#resources.use(controlPlane);
    this.application = this.#resources.use(application);
  }

  static async start(options: ControlPlaneOptions = {}): Promise<QuickWorld> {
    const dir = new TemporaryDir();
    const settings = { ...QUICK, endpointsDir: dir.join('eds'), ...options };
    return new QuickWorld(
      await ControlPlane.start(settings),
      await HttpApplication.start({ name: 'web' }),
      dir,
    );
  }

  async dataplane(
    name: string,
    options: Partial<DataplaneOptions> = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<RunningDataplane> {
    return this.#resources.use(
      await startDataplane(
        {
          controlPlaneUrl: this.controlPlane.dataplaneUrl,
          name,
          servicePort: this.application.port,
          workDir: this.dir.join(name),
          ...options,
        },
        env,
      ),
    );
  }

  async servingDataplane(name: string, options: Partial<DataplaneOptions> = {}): Promise<RunningDataplane> {
    const dataplane = await this.dataplane(name, options);
    await waitUntilServing(dataplane.inboundPort);
    return dataplane;
  }

  find(name: string): StoredObject | undefined {
    return this.controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name });
  }

  subscriptions(name: string): readonly StoredSubscription[] {
    return (
      this.controlPlane.store.findInsight({ type: 'Dataplane', mesh: 'default', name })?.subscriptions ?? []
    );
  }

  async delete(name: string): Promise<number> {
    const url = `${this.controlPlane.httpUrl}/meshes/default/dataplanes/${name}`;
    return (await fetch(url, { method: 'DELETE' })).status;
  }

  async put(resource: Readonly<Record<string, unknown>>): Promise<number> {
    const url = `${this.controlPlane.httpUrl}/meshes/default/dataplanes/${String(resource['name'])}`;
    return (await fetch(url, { method: 'PUT', body: JSON.stringify(resource) })).status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
