import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

import { freePort } from '../world/free-port.ts';
import { bootstrapReply } from './bootstrap.ts';
import { DataplaneStreams } from './dataplane-streams.ts';
import { dataplaneServer } from './dataplane-server.ts';
import { EndpointPublisher } from './endpoint-publisher.ts';
import { endpointsFile, writeEndpoints } from './endpoints-file.ts';
import { type Federation } from './federation.ts';
import { FaultQueue } from './faults.ts';
import { PauseGate } from './gate.ts';
import { HealthFeedback } from './health-feedback.ts';
import { Insights } from './insights.ts';
import { Journal } from './journal.ts';
import { restServer } from './rest-server.ts';
import { RestRoutes } from './rest-routes.ts';
import { ResourceManager } from './resource-manager.ts';
import { completeSettings, type ControlPlaneOptions, type ControlPlaneSettings } from './settings.ts';
import { type SocketServer } from '../world/socket-server.ts';
import { KumaStore } from './store.ts';
import { Timers } from './timers.ts';

export const TLS_FIXTURES = join(import.meta.dirname, '..', '..', 'fixtures', 'tls');

/** A certificate of ECDSA for loopback, by `ca.crt` of {@link TLS_FIXTURES}. */
export const TLS_CERTIFICATE = {
  certificateFile: join(TLS_FIXTURES, 'server.crt'),
  keyFile: join(TLS_FIXTURES, 'server.key'),
} as const;

/** The parts of a control plane that end with its process. */
interface Run {
  readonly instanceId: string;
  readonly timers: Timers;
  readonly streams: DataplaneStreams;
  readonly servers: Readonly<Record<ServerName, SocketServer>>;
}

export type ServerName = 'http' | 'https' | 'dataplane';
const SERVER_NAMES = ['http', 'https', 'dataplane'] as const;

/**
 * A zone control plane of Kuma Universal for tests: REST API, dataplane server, endpoint publishing and faults.
 *
 * It can stop, crash and start again: ports, objects and journal stay, the instance id changes. Everything that happens
 * is in {@link journal}.
 */
export class ControlPlane implements AsyncDisposable {
  readonly settings: ControlPlaneSettings;
  readonly store: KumaStore;
  readonly journal = new Journal();
  readonly faults = new FaultQueue();
  readonly #gate = new PauseGate();
  readonly #federation: Federation | undefined;
  readonly #ports: Record<ServerName, number>;
  #run: Run | undefined;

  private constructor(settings: ControlPlaneSettings, store: KumaStore, federation: Federation | undefined) {
    this.settings = settings;
    this.store = store;
    this.#federation = federation;
    this.#ports = { ...settings.ports };
  }

  /**
   * @param store shared with another control plane of the same zone, as PostgreSQL would be
   * @param federation what the zone belongs to
   */
  static async start(
    options: ControlPlaneOptions = {},
    store?: KumaStore,
    federation?: Federation,
  ): Promise<ControlPlane> {
    const settings = await withPorts(completeSettings(options));
    if (settings.endpointsDir !== undefined) mkdirSync(settings.endpointsDir, { recursive: true });
    const controlPlane = new ControlPlane(settings, store ?? new KumaStore(settings.storeFile), federation);
    await controlPlane.start();
    return controlPlane;
  }

  /** The plain REST API: `http://127.0.0.1:<port>`. */
  get httpUrl(): string {
    return `http://${this.settings.host}:${this.#ports.http}`;
  }

  /** The REST API over TLS. Its certificate is for `localhost`, `127.0.0.1` and `::1`. */
  get httpsUrl(): string {
    return `https://${this.settings.host}:${this.#ports.https}`;
  }

  /** What kuma-dp is given as `--cp-address`. */
  get dataplaneUrl(): string {
    return `https://${this.settings.host}:${this.#ports.dataplane}`;
  }

  get ports(): Readonly<Record<ServerName, number>> {
    return { ...this.#ports };
  }

  /** `undefined` while it is down. */
  get instanceId(): string | undefined {
    return this.#run?.instanceId;
  }

  /** Where a service's endpoints are published; made empty if it does not exist yet, since Envoy wants the file to exist. */
  endpointsFile(service: string): string {
    const { endpointsDir } = this.settings;
    if (endpointsDir === undefined)
      throw new Error('This control plane publishes no endpoints: set endpointsDir');
    return ensureEndpointsFile(endpointsDir, service);
  }

  /** Starts a new instance. Does nothing while one runs. */
  async start(): Promise<void> {
    if (this.#run !== undefined) return;
    const instanceId = `${hostname()}-${randomBytes(2).toString('hex')}`;
    const run = this.#createRun(instanceId, new Timers());
    this.#run = run;
    this.#gate.open();
    await this.acceptConnections();
    this.journal.record('started', instanceId);
  }

  /** Ends as after SIGTERM: streams are closed and recorded as such, no dataplane is deregistered. */
  async stop(): Promise<void> {
    await this.#end('gracefully');
  }

  /** Ends as after SIGKILL: nothing is recorded, and subscriptions stay "online". */
  async crash(): Promise<void> {
    await this.#end('crashed');
  }

  async refuseConnections(servers: readonly ServerName[] = SERVER_NAMES): Promise<void> {
    const run = this.#run;
    if (run !== undefined) await Promise.all(servers.map((name) => run.servers[name].close()));
  }

  async acceptConnections(servers: readonly ServerName[] = SERVER_NAMES): Promise<void> {
    for (const name of servers) {
      const server = this.#run?.servers[name];
      await server?.listen();
      if (server !== undefined) this.#ports[name] = server.port;
    }
  }

  /** Pauses: connections are accepted, and nothing is answered, published or deleted until {@link resume}. */
  pause(): void {
    this.#gate.close();
  }

  resume(): void {
    this.#gate.open();
  }

  /** Cuts the streams of the dataplane with this name, or of all. Their Envoys connect again by themselves. */
  dropStreams(name?: string): void {
    this.#run?.streams.drop(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(how: 'gracefully' | 'crashed'): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    run.streams.leave(how);
    run.timers.cancel();
    this.#gate.open();
    await Promise.all(SERVER_NAMES.map((name) => run.servers[name].close()));
    this.journal.record('stopped', run.instanceId, how);
  }

  #createRun(instanceId: string, timers: Timers): Run {
    const { settings, store, journal, faults } = this;
    const gate = this.#gate;
    const manager = new ResourceManager(store, settings);
    const insights = new Insights(store, settings, instanceId);
    const streams = new DataplaneStreams({ settings, store, manager, insights, journal, gate, timers });
    const health = new HealthFeedback({ settings, store, manager, journal, gate, timers });
    timers.every(settings.idleTimeoutMs, () => {
      insights.finalizeGhosts(streams.liveSubscriptions());
    });
    const federation = this.#federation;
    federation?.join({ settings, store, timers, gate });
    void new EndpointPublisher({ settings, store, journal, gate, timers, federation }).start();

    const routes = new RestRoutes({
      settings,
      store,
      manager,
      instanceId,
      deleted: ({ mesh, name }) => {
        journal.record('deleted', `${mesh}/${name}`);
      },
    });
    const tls = certificate(settings.certificate);
    const { host } = settings;
    const rest = { routes, faults, journal, gate, host };
    return {
      instanceId,
      timers,
      streams,
      servers: {
        http: restServer({ ...rest, port: this.#ports.http, tls: undefined }),
        https: restServer({ ...rest, port: this.#ports.https, tls }),
        dataplane: dataplaneServer({
          ...rest,
          port: this.#ports.dataplane,
          tls,
          bootstrap: async (request) => {
            if (settings.bootstrapDelayMs > 0) await timers.sleep(settings.bootstrapDelayMs);
            return bootstrapReply(request, store, settings);
          },
          discovery: (stream, node) => streams.accept(stream, node),
          health: settings.healthFeedback ? (stream, node) => health.accept(stream, node) : undefined,
        }),
      },
    };
  }
}

/** A restart needs the port that clients know. */
async function withPorts(settings: ControlPlaneSettings): Promise<ControlPlaneSettings> {
  const { http, https, dataplane } = settings.ports;
  return {
    ...settings,
    ports: {
      http: http === 0 ? await freePort() : http,
      https: https === 0 ? await freePort() : https,
      dataplane: dataplane === 0 ? await freePort() : dataplane,
    },
  };
}

/** @returns the path, where an empty list is published if there is none yet */
export function ensureEndpointsFile(dir: string, service: string): string {
  const file = endpointsFile(dir, service);
  try {
    readFileSync(file);
  } catch {
    writeEndpoints(dir, service, []);
  }
  return file;
}

function certificate(name: string): { readonly cert: Buffer; readonly key: Buffer } {
  return {
    cert: readFileSync(join(TLS_FIXTURES, `${name}.crt`)),
    key: readFileSync(join(TLS_FIXTURES, `${name}.key`)),
  };
}
