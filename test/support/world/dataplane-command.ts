import { join } from 'node:path';

import { TLS_FIXTURES } from '../kuma/control-plane.ts';
import { freePort } from './free-port.ts';

/** kuma-dp's stand-in. */
export const KUMA_DP = join(import.meta.dirname, '..', 'kuma', 'bin', 'kuma-dp');

export interface DataplaneOptions {
  /** `--cp-address` */
  readonly controlPlaneUrl: string;
  readonly name: string;
  /** Where the application listens. */
  readonly servicePort: number;
  /** Work directory; short, since the admin socket is in it. */
  readonly workDir: string;
  readonly mesh?: string;
  /** Where Envoy listens and its peers connect; loopback if left out. */
  readonly address?: string;
  /** Tag `kuma.io/service` and label `app`. */
  readonly service?: string;
  /** `http`, `http2`, `grpc` or `tcp`. */
  readonly protocol?: string;
  /** Where Envoy listens; any free port if left out. */
  readonly inboundPort?: number;
  /** `kuma-dp --drain-time` */
  readonly drainTime?: string;
  /** Envoy's admin port, for versions without an admin socket; any free one if left out. */
  readonly adminPort?: number;
  readonly readinessPort?: number;
  /** Adds a service probe to the inbound. */
  readonly serviceProbe?: boolean;
  /**
   * `direct`: the resource is passed to kuma-dp. `pre-applied`: only `--name` and `--mesh` are; PUT
   * {@link DataplaneCommand.resource} before.
   */
  readonly lifecycle?: 'direct' | 'pre-applied';
}

/** A `kuma-dp run …` as an operator would write it in a unit file. */
export interface DataplaneCommand {
  readonly command: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The Dataplane object, for PUT. */
  readonly resource: Readonly<Record<string, unknown>>;
  readonly inboundPort: number;
  /** As peers' lists show it. */
  readonly endpoint: string;
  readonly readinessPort: number;
  /** Envoy's admin API: the socket from 2.14 on, the port before. */
  readonly adminSocket: string;
  readonly adminPort: number;
}

export async function dataplaneCommand(options: DataplaneOptions): Promise<DataplaneCommand> {
  const {
    controlPlaneUrl,
    name,
    workDir,
    drainTime = '30s',
    lifecycle = 'direct',
    mesh = 'default',
  } = options;
  const inboundPort = options.inboundPort ?? (await freePort());
  const adminPort = options.adminPort ?? (await freePort());
  const readinessPort = options.readinessPort ?? (await freePort());
  const resource = dataplaneResource({ ...options, inboundPort, adminPort });
  const identity =
    lifecycle === 'direct' ? ['--dataplane', JSON.stringify(resource)] : ['--name', name, '--mesh', mesh];
  return {
    command: KUMA_DP,
    argv: [
      'run',
      `--cp-address=${controlPlaneUrl}`,
      `--ca-cert-file=${join(TLS_FIXTURES, 'ca.crt')}`,
      ...identity,
      '--dns-enabled=false',
      '--drain-time',
      drainTime,
      '--work-dir',
      workDir,
    ],
    env: { KUMA_READINESS_PORT: String(readinessPort) },
    resource,
    inboundPort,
    endpoint: `${options.address ?? '127.0.0.1'}:${inboundPort}`,
    readinessPort,
    adminSocket: join(workDir, 'kuma-envoy-admin.sock'),
    adminPort,
  };
}

function dataplaneResource(
  options: DataplaneOptions & { readonly inboundPort: number; readonly adminPort: number },
): Readonly<Record<string, unknown>> {
  const { name, mesh = 'default', service = 'backend', protocol = 'http' } = options;
  const { inboundPort, servicePort, adminPort } = options;
  return {
    type: 'Dataplane',
    mesh,
    name,
    labels: { app: service },
    networking: {
      address: options.address ?? '127.0.0.1',
      admin: { port: adminPort },
      inbound: [
        {
          port: inboundPort,
          servicePort,
          serviceAddress: '127.0.0.1',
          name: 'main',
          protocol,
          tags: { 'kuma.io/service': service, 'kuma.io/protocol': protocol },
          ...(options.serviceProbe === true ? { serviceProbe: {} } : {}),
        },
      ],
    },
  };
}
