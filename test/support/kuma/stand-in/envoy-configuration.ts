import { join } from 'node:path';

import { type BootstrapAnswer, encodeNode, NODE_HEADER } from '../bootstrap-protocol.ts';
import { type Inbound, networkingOf, workloadOf } from '../dataplane-model.ts';
import { type Configuration } from './configuration.ts';
import {
  assignment,
  http2Options,
  type EnvoyJson,
  listener,
  listenersResponse,
  passingListener,
  permissiveListener,
  proxyFilter,
  socketAddress,
  staticCluster,
  tlsTo,
  upstreamOptions,
} from './envoy-resources.ts';

interface EnvoyConfiguration {
  /** For `<workdir>/bootstrap.yaml`; JSON is YAML. */
  readonly bootstrap: EnvoyJson;
  /** For {@link listenersFile}. */
  readonly listeners: EnvoyJson;
}

interface SystemNames {
  readonly discovery: string;
  readonly accessLog: string;
  readonly admin: string;
  readonly readiness: string;
}

const LEGACY_NAMES: SystemNames = {
  discovery: 'ads_cluster',
  accessLog: 'access_log_sink',
  admin: 'kuma_envoy_admin',
  readiness: 'kuma_readiness',
};

const UNIFIED_NAMES: SystemNames = {
  discovery: 'system_ads',
  accessLog: 'system_access_log_sink',
  admin: 'system_envoy_admin',
  readiness: 'system_probe_readiness',
};

const SYSTEM_CA = '/etc/ssl/certs/ca-certificates.crt';
/** Mode of the admin socket: only its owner. */
const SOCKET_MODE = 0o600;

/** Where the listeners are configured. Envoy reads it once the control plane has answered its request for clusters. */
export function listenersFile(workDir: string): string {
  return join(workDir, 'listeners.json');
}

/**
 * Envoy as Kuma configures it, as far as the agent can see it: admin address, names of listeners, clusters and
 * statistics, and a stream that the control plane must accept before any listener appears.
 */
export function envoyConfiguration(
  answer: BootstrapAnswer,
  configuration: Configuration,
  workDir: string,
): EnvoyConfiguration {
  const { mesh, name } = answer.node;
  const names = answer.unifiedNames ? UNIFIED_NAMES : LEGACY_NAMES;
  const inbounds = networkingOf(answer.spec).inbound ?? [];
  const grpc = discoveryService(answer, configuration, names);
  const bootstrap = {
    node: {
      id: mesh === '' ? name : `${mesh}.${name}`,
      cluster: inbounds[0]?.tags?.['kuma.io/service'] ?? name,
      metadata: {
        'dataplane.proxyType': answer.node.proxyType,
        ...(answer.node.resource === undefined ? {} : { 'dataplane.resource': answer.node.resource }),
        workdir: answer.node.workdir,
        version: { kumaDp: { version: answer.version } },
      },
    },
    admin: { address: adminAddress(answer) },
    dynamic_resources: {
      ads_config: { ...grpc, set_node_on_first_message_only: true },
      cds_config: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
      lds_config: {
        path_config_source: { path: listenersFile(workDir), watched_directory: { path: workDir } },
        initial_fetch_timeout: '0s',
        resource_api_version: 'V3',
      },
    },
    ...(answer.healthFeedback ? { hds_config: { ...grpc, set_node_on_first_message_only: true } } : {}),
    static_resources: {
      clusters: [
        discoveryCluster(configuration, names),
        staticCluster(names.accessLog, { pipe: { path: join(workDir, 'kuma-al.sock') } }),
        staticCluster(names.admin, adminAddress(answer)),
        staticCluster(
          names.readiness,
          socketAddress({ address: '127.0.0.1', port: configuration.readinessPort }),
        ),
        ...inboundClusters(answer, inbounds),
        ...outboundClusters(answer),
      ],
    },
  };
  return { bootstrap, listeners: listenersResponse(listeners(answer, inbounds)) };
}

function adminAddress({ admin }: BootstrapAnswer): EnvoyJson {
  return 'socket' in admin
    ? { pipe: { path: admin.socket, mode: SOCKET_MODE } }
    : socketAddress({ address: '127.0.0.1', port: admin.port });
}

function discoveryService(
  answer: BootstrapAnswer,
  configuration: Configuration,
  names: SystemNames,
): EnvoyJson {
  const metadata = [
    { key: NODE_HEADER, value: encodeNode(answer.node) },
    ...(configuration.token === '' ? [] : [{ key: 'authorization', value: configuration.token }]),
  ];
  return {
    api_type: 'GRPC',
    transport_api_version: 'V3',
    grpc_services: [{ envoy_grpc: { cluster_name: names.discovery }, initial_metadata: metadata }],
  };
}

function discoveryCluster(
  { controlPlaneUrl, caCert, skipVerify }: Configuration,
  names: SystemNames,
): EnvoyJson {
  const url = new URL(controlPlaneUrl);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const matchers = ['DNS', 'IP_ADDRESS'].map((sanType) => ({ san_type: sanType, matcher: { exact: host } }));
  const validation = {
    match_typed_subject_alt_names: matchers,
    trusted_ca: caCert === '' ? { filename: SYSTEM_CA } : { inline_string: caCert },
  };
  return {
    name: names.discovery,
    type: 'STRICT_DNS',
    connect_timeout: '1s',
    load_assignment: assignment(names.discovery, [
      socketAddress({ address: host, port: Number(url.port) || 443 }),
    ]),
    ...http2Options({ connection_keepalive: { interval: '30s', timeout: '10s' } }),
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
        sni: host,
        common_tls_context: {
          alpn_protocols: ['h2'],
          ...(skipVerify ? {} : { validation_context: validation }),
        },
      },
    },
  };
}

function inboundClusters(answer: BootstrapAnswer, inbounds: readonly Inbound[]): readonly EnvoyJson[] {
  const clusters = inbounds.map((inbound) =>
    staticCluster(inboundCluster(answer, inbound), socketAddress(workloadOf(inbound)), protocolOf(inbound)),
  );
  return clusters.filter(
    ({ name }, index) => clusters.findIndex((other) => other['name'] === name) === index,
  );
}

function listeners(answer: BootstrapAnswer, inbounds: readonly Inbound[]): readonly EnvoyJson[] {
  const { address = '127.0.0.1', port, outbound = [] } = networkingOf(answer.spec);
  const shared = { traffic_direction: 'INBOUND', enable_reuse_port: answer.reusePort };
  const incoming = inbounds.map((inbound) => {
    const target = { address: inbound.address ?? address, port: inbound.port };
    const cluster = inboundCluster(answer, inbound);
    const name = answer.unifiedNames ? cluster : `inbound:${target.address}:${target.port}`;
    const filter = proxyFilter(cluster, protocolOf(inbound));
    return {
      ...(answer.mtls ? permissiveListener : listener)(name, target, filter),
      ...shared,
      ...(answer.unifiedNames ? { stat_prefix: name } : {}),
    };
  });
  const zone =
    port === undefined
      ? []
      : [{ ...passingListener(`inbound:${address}:${port}`, { address, port }), ...shared }];
  const outgoing = outbound.flatMap((one) => {
    const service = one.tags?.['kuma.io/service'];
    if (service === undefined || answer.endpointsDir === undefined) return [];
    const target = { address: one.address ?? '127.0.0.1', port: one.port };
    const name = `outbound:${target.address}:${target.port}`;
    const filter = proxyFilter(service, answer.protocols[service] ?? 'tcp');
    return [{ ...listener(name, target, filter), traffic_direction: 'OUTBOUND' }];
  });
  return [...incoming, ...zone, ...gatewayListeners(answer, address), ...outgoing];
}

/** @see kuma v2.14.3 pkg/plugins/runtime/gateway/listener_generator.go */
function gatewayListeners(
  { gatewayListeners: gateways }: BootstrapAnswer,
  address: string,
): readonly EnvoyJson[] {
  return gateways.map(({ name, port, backend }) => ({
    ...listener(`${name}:HTTP:${port}`, { address, port }, proxyFilter(backend, 'http')),
    traffic_direction: 'INBOUND',
    enable_reuse_port: true,
  }));
}

function outboundClusters(answer: BootstrapAnswer): readonly EnvoyJson[] {
  const { spec, endpointsDir, protocols, idleTimeouts, gatewayListeners: gateways } = answer;
  if (endpointsDir === undefined) return [];
  if (answer.passedOn.length > 0)
    return answer.passedOn.map((service) => endpointsCluster(service, endpointsDir));
  const called = (networkingOf(spec).outbound ?? []).map(({ tags }) => tags?.['kuma.io/service']);
  const services = new Set([...called, ...gateways.map(({ backend }) => backend)]);
  return [...services].flatMap((service) => {
    if (service === undefined) return [];
    const options = upstreamOptions(protocols[service] ?? 'tcp', idleTimeouts[service]);
    const tls = answer.mtls ? tlsTo(service) : {};
    return [{ ...endpointsCluster(service, endpointsDir), ...options, ...tls }];
  });
}

/** A cluster whose endpoints come from the file that the emulated control plane publishes. */
export function endpointsCluster(service: string, endpointsDir: string): EnvoyJson {
  const path = join(endpointsDir, `${service}.json`);
  const source = { path, watched_directory: { path: endpointsDir } };
  return {
    name: service,
    type: 'EDS',
    connect_timeout: '5s',
    eds_cluster_config: {
      service_name: service,
      eds_config: { path_config_source: source, resource_api_version: 'V3' },
    },
  };
}

function inboundCluster({ unifiedNames }: BootstrapAnswer, inbound: Inbound): string {
  if (unifiedNames) return `self_inbound_dp_${inbound.name ?? inbound.port}`;
  return `localhost_${workloadOf(inbound).port}`;
}

function protocolOf(inbound: Inbound): string {
  return inbound.protocol ?? inbound.tags?.['kuma.io/protocol'] ?? 'tcp';
}
