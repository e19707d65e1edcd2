import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { envoyBinary } from '../../../scripts/install-envoy.ts';
import { ensureEndpointsFile } from '../kuma/control-plane.ts';
import { endpointsCluster } from '../kuma/stand-in/envoy-configuration.ts';
import {
  http2Options,
  httpFilter,
  type EnvoyJson,
  listener,
  tcpFilter,
} from '../kuma/stand-in/envoy-resources.ts';
import { endpointsIn } from './clusters-answer.ts';
import { freePort } from './free-port.ts';
import { httpCall } from './http-call.ts';
import { ManagedProcess } from './managed-process.ts';
import { TemporaryDir } from './temporary-dir.ts';
import { waitUntil } from './wait-until.ts';

export interface ClientEnvoyOptions {
  /** The service to call: its endpoints are read from the file that a control plane publishes. */
  readonly service: string;
  readonly endpointsDir: string;
}

/** The protocols that the client Envoy passes on: each has a listener and a cluster of its own. */
const CLIENT_PROTOCOLS = ['http1', 'http2', 'tcp'] as const;
export type ClientProtocol = (typeof CLIENT_PROTOCOLS)[number];

/**
 * A peer of the dataplanes: a real Envoy that balances over the published endpoints of one service, round robin,
 * without retries and without health checks. Its clients see every failure to reach an endpoint.
 */
export class ClientEnvoy implements AsyncDisposable {
  readonly ports: Readonly<Record<ClientProtocol, number>>;
  readonly #process: ManagedProcess;
  readonly #dir: TemporaryDir;

  private constructor(
    process_: ManagedProcess,
    dir: TemporaryDir,
    ports: Readonly<Record<ClientProtocol, number>>,
  ) {
    this.#process = process_;
    this.#dir = dir;
    this.ports = ports;
  }

  static async start(options: ClientEnvoyOptions): Promise<ClientEnvoy> {
    ensureEndpointsFile(options.endpointsDir, options.service);
    const dir = new TemporaryDir();
    const ports = { http1: await freePort(), http2: await freePort(), tcp: await freePort() };
    const file = dir.join('client.json');
    writeFileSync(file, JSON.stringify(configuration(options, dir.join('admin.sock'), ports)));
    const argv = [
      '--config-path',
      file,
      '--disable-hot-restart',
      '--concurrency',
      '1',
      '--log-level',
      'warning',
    ];
    const client = new ClientEnvoy(new ManagedProcess({ command: await envoyBinary(), argv }), dir, ports);
    await waitUntil(
      async () => {
        if (!client.#process.running) throw new Error(client.#process.stderr);
        return (await client.admin('/ready')).startsWith('LIVE');
      },
      { what: 'the client Envoy to be live' },
    );
    return client;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Base URL of the listener that passes on HTTP/1.1 or HTTP/2. */
  url(protocol: 'http1' | 'http2'): string {
    return `http://127.0.0.1:${this.ports[protocol]}`;
  }

  /** Endpoints of the service as this Envoy knows them now: `127.0.0.1:10001`, sorted. */
  async endpoints(protocol: ClientProtocol = 'http1'): Promise<readonly string[]> {
    const body = await this.admin('/clusters?format=json');
    return endpointsIn(body, (name) => name === protocol).toSorted((a, b) => (a < b ? -1 : 1));
  }

  /** Body of `GET <path>` of its admin API. */
  async admin(path: string): Promise<string> {
    return (await httpCall({ socketPath: this.#dir.join('admin.sock'), path })).body;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}

function configuration(
  { service, endpointsDir }: ClientEnvoyOptions,
  adminSocket: string,
  ports: Readonly<Record<ClientProtocol, number>>,
): EnvoyJson {
  const cluster = (name: ClientProtocol): EnvoyJson => ({
    ...endpointsCluster(service, endpointsDir),
    name,
    ...(name === 'http2' ? http2Options() : {}),
  });
  const target = (name: ClientProtocol): { address: string; port: number } => ({
    address: '127.0.0.1',
    port: ports[name],
  });
  return {
    node: { id: 'client', cluster: 'client' },
    admin: { address: { pipe: { path: join(adminSocket) } } },
    static_resources: {
      clusters: CLIENT_PROTOCOLS.map((name) => cluster(name)),
      listeners: CLIENT_PROTOCOLS.map((name) =>
        listener(name, target(name), name === 'tcp' ? tcpFilter(name) : httpFilter(name)),
      ),
    },
  };
}
