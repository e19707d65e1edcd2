import { type IncomingHttpHeaders } from 'node:http2';

import { type Fields, type ResourceKey, type ResourceType } from './store.ts';

/** Body of the stand-in's `POST /bootstrap`: the fields of Kuma's that the emulator reads. */
export interface BootstrapRequest {
  readonly mesh: string;
  readonly name: string;
  readonly proxyType: StandInProxyType;
  readonly dataplaneToken: string;
  /** The resource given to kuma-dp as JSON text, or empty. */
  readonly dataplaneResource: string;
  readonly workdir: string;
  readonly readinessPort: number;
  /** `revision/version/status/type/tls`, as `envoy --version` says it. */
  readonly envoyBuild: string;
}

export type StandInProxyType = 'dataplane' | 'ingress' | 'egress';

/**
 * What the control plane tells a proxy before it connects. Kuma answers a finished Envoy configuration; here kuma-dp's
 * stand-in writes it from these facts.
 */
export interface BootstrapAnswer {
  /** The control plane's, which the stand-in takes for its own. */
  readonly version: string;
  /** The object's specification. */
  readonly spec: Fields;
  /** Where Envoy's admin API listens. */
  readonly admin: { readonly socket: string } | { readonly port: number };
  readonly healthFeedback: boolean;
  readonly unifiedNames: boolean;
  readonly reusePort: boolean;
  readonly endpointsDir: string | undefined;
  /** `http`, `http2`, `grpc` or `tcp` for each service that the control plane knows at this moment. */
  readonly protocols: Readonly<Record<string, string>>;
  /** What a MeshTimeout says of a service: an upstream connection without a request is closed after so long. Milliseconds. */
  readonly idleTimeouts: Readonly<Record<string, number>>;
  /** Whether Envoys speak TLS to each other, with the service as server name. */
  readonly mtls: boolean;
  /** Of a zone proxy: the services that it passes on, by server name. */
  readonly passedOn: readonly string[];
  /** What a MeshGateway and its route say of this dataplane; none if it is no builtin gateway. */
  readonly gatewayListeners: readonly GatewayListener[];
  /** Sent back in {@link NODE_HEADER} on every stream. */
  readonly node: NodeInfo;
}

/** A MeshGateway with one HTTP listener whose route leads to one service. */
export interface GatewayListener {
  readonly name: string;
  /** The gateway's tag `kuma.io/service`. */
  readonly service: string;
  readonly port: number;
  readonly backend: string;
}

/** What Kuma reads from Envoy's node metadata. */
export interface NodeInfo {
  readonly mesh: string;
  readonly name: string;
  readonly proxyType: StandInProxyType;
  /** The resource given to kuma-dp as JSON text: its presence is what makes the lifecycle "direct". */
  readonly resource: string | undefined;
  readonly workdir: string;
  readonly readinessPort: number;
  readonly envoyBuild: string;
  readonly admin: { readonly socket: string } | { readonly port: number };
}

/** Request header of the gRPC streams: {@link NodeInfo} as base64url of JSON, in place of Envoy's node message. */
export const NODE_HEADER = 'x-kuma-stand-in-node';

export function encodeNode(node: NodeInfo): string {
  return Buffer.from(JSON.stringify(node)).toString('base64url');
}

export function decodeNode(headers: IncomingHttpHeaders): NodeInfo | undefined {
  const value = headers[NODE_HEADER];
  if (typeof value !== 'string') return undefined;
  return JSON.parse(Buffer.from(value, 'base64url').toString()) as NodeInfo;
}

export const RESOURCE_TYPES: Readonly<Record<StandInProxyType, ResourceType>> = {
  dataplane: 'Dataplane',
  ingress: 'ZoneIngress',
  egress: 'ZoneEgress',
};

export function keyOf(node: {
  readonly proxyType: StandInProxyType;
  readonly mesh: string;
  readonly name: string;
}): ResourceKey {
  const type = RESOURCE_TYPES[node.proxyType];
  return { type, mesh: type === 'Dataplane' ? node.mesh : '', name: node.name };
}
