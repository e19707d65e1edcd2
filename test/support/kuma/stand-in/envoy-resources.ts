import { join } from 'node:path';

/** Pieces of Envoy configuration, as the JSON that Envoy reads. */
export type EnvoyJson = { readonly [field: string]: unknown };

const TYPE = 'type.googleapis.com/envoy';
const TLS_FIXTURES = join(import.meta.dirname, '..', '..', '..', 'fixtures', 'tls');

/** Protocols of an inbound that Kuma serves with an HTTP connection manager. */
const HTTP_PROTOCOLS = new Set(['http', 'http2', 'grpc']);
const HTTP2_PROTOCOLS = new Set(['http2', 'grpc']);

export interface EnvoyTarget {
  readonly address: string;
  readonly port: number;
}

export function socketAddress({ address, port }: EnvoyTarget): EnvoyJson {
  return { socket_address: { address, port_value: port } };
}

export function staticCluster(name: string, address: EnvoyJson, protocol = 'tcp'): EnvoyJson {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '10s',
    load_assignment: assignment(name, [address]),
    ...(HTTP2_PROTOCOLS.has(protocol) ? http2Options() : {}),
  };
}

export function assignment(cluster: string, addresses: readonly EnvoyJson[]): EnvoyJson {
  const endpoints = addresses.map((address) => ({ endpoint: { address } }));
  return { cluster_name: cluster, endpoints: [{ lb_endpoints: endpoints }] };
}

export function http2Options(options: EnvoyJson = {}): EnvoyJson {
  return httpOptions({ explicit_http_config: { http2_protocol_options: options } });
}

/** How an HTTP cluster speaks upstream, and when it closes a connection without a request. */
export function upstreamOptions(protocol: string, idleTimeoutMs?: number): EnvoyJson {
  if (!HTTP_PROTOCOLS.has(protocol)) return {};
  const config = HTTP2_PROTOCOLS.has(protocol)
    ? { http2_protocol_options: {} }
    : { http_protocol_options: {} };
  return httpOptions({
    explicit_http_config: config,
    ...(idleTimeoutMs === undefined
      ? {}
      : { common_http_protocol_options: { idle_timeout: `${idleTimeoutMs / 1_000}s` } }),
  });
}

function httpOptions(options: EnvoyJson): EnvoyJson {
  const type = `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`;
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': { '@type': type, ...options },
    },
  };
}

/** One network filter that passes everything on to `cluster`: an HTTP connection manager or a TCP proxy. No retries. */
export function proxyFilter(cluster: string, protocol: string): EnvoyJson {
  return HTTP_PROTOCOLS.has(protocol) ? httpFilter(cluster) : tcpFilter(cluster);
}

export function tcpFilter(cluster: string): EnvoyJson {
  const config = {
    '@type': `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
    stat_prefix: cluster,
    cluster,
  };
  return { name: 'envoy.filters.network.tcp_proxy', typed_config: config };
}

export function httpFilter(cluster: string): EnvoyJson {
  const route = { match: { prefix: '/' }, route: { cluster, timeout: '0s' } };
  const config = {
    '@type': `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: cluster,
    stream_idle_timeout: '0s',
    route_config: { name: cluster, virtual_hosts: [{ name: cluster, domains: ['*'], routes: [route] }] },
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': `${TYPE}.extensions.filters.http.router.v3.Router` },
      },
    ],
  };
  return { name: 'envoy.filters.network.http_connection_manager', typed_config: config };
}

export function listener(name: string, target: EnvoyTarget, filter: EnvoyJson): EnvoyJson {
  return { name, address: socketAddress(target), filter_chains: [{ filters: [filter] }] };
}

/** A listener that takes plain text and TLS, as an inbound of a mesh with permissive mTLS does. */
export function permissiveListener(name: string, target: EnvoyTarget, filter: EnvoyJson): EnvoyJson {
  const certificate = { filename: join(TLS_FIXTURES, 'server.crt') };
  const key = { filename: join(TLS_FIXTURES, 'server.key') };
  const tls = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
      common_tls_context: { tls_certificates: [{ certificate_chain: certificate, private_key: key }] },
    },
  };
  return {
    name,
    address: socketAddress(target),
    listener_filters: [tlsInspector()],
    filter_chains: [
      { filter_chain_match: { transport_protocol: 'tls' }, filters: [filter], transport_socket: tls },
      { filter_chain_match: { transport_protocol: 'raw_buffer' }, filters: [filter] },
    ],
  };
}

/** A zone proxy's listener: passes each connection on to the cluster that its TLS server name says, as it is. */
export function passingListener(name: string, target: EnvoyTarget): EnvoyJson {
  const bySni = {
    name: 'envoy.filters.network.sni_cluster',
    typed_config: { '@type': `${TYPE}.extensions.filters.network.sni_cluster.v3.SniCluster` },
  };
  return {
    name,
    address: socketAddress(target),
    listener_filters: [tlsInspector()],
    filter_chains: [{ filters: [bySni, tcpFilter('nowhere')] }],
  };
}

/** A cluster that is called over TLS with its service as server name. Who answers is not verified. */
export function tlsTo(service: string): EnvoyJson {
  return {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
        sni: service,
      },
    },
  };
}

function tlsInspector(): EnvoyJson {
  return {
    name: 'envoy.filters.listener.tls_inspector',
    typed_config: { '@type': `${TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector` },
  };
}

/** A `DiscoveryResponse` of listeners, for a file that Envoy watches. */
export function listenersResponse(listeners: readonly EnvoyJson[]): EnvoyJson {
  return {
    version_info: '1',
    resources: listeners.map((one) => ({ '@type': `${TYPE}.config.listener.v3.Listener`, ...one })),
  };
}
