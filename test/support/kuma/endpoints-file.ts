import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface PublishedEndpoint {
  readonly address: string;
  readonly port: number;
}

/** Where the endpoints are that an egress passes on to. */
export function egressDir(endpointsDir: string): string {
  return join(endpointsDir, 'egress');
}

/** Services of which endpoints are published in a folder, also none. */
export function publishedServices(dir: string | undefined): readonly string[] {
  if (dir === undefined || !existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length));
}

/** The file in which a service's endpoints are published. */
export function endpointsFile(dir: string, service: string): string {
  return join(dir, `${service}.json`);
}

/**
 * Publishes endpoints as an Envoy with `path_config_source` reads them. The file is renamed into place: that is the
 * only change that Envoy notices.
 *
 * @see https://www.envoyproxy.io/docs/envoy/v1.36.4/api-v3/config/core/v3/config_source.proto
 */
export function writeEndpoints(dir: string, service: string, endpoints: readonly PublishedEndpoint[]): void {
  mkdirSync(dir, { recursive: true });
  const response = {
    version_info: String(performance.now()),
    resources: [
      {
        '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
        cluster_name: service,
        endpoints: [
          {
            lb_endpoints: endpoints.map(({ address, port }) => ({
              endpoint: { address: { socket_address: { address, port_value: port } } },
            })),
          },
        ],
      },
    ],
  };
  const file = endpointsFile(dir, service);
  const fresh = `${file}.${process.pid}.tmp`;
  writeFileSync(fresh, JSON.stringify(response));
  renameSync(fresh, file);
}
