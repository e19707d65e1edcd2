import type { DataplaneResource } from '../../kuma/dataplane.ts';
import type { DataplaneIdentity } from './dataplane-identity.pure.ts';

/**
 * The kind of proxy. Only some kinds have an application behind them, or senders that learn of a stop from no control
 * plane.
 */
export type ProxyKind = 'sidecar' | 'delegated gateway' | 'builtin gateway' | 'zone ingress' | 'zone egress';

/** Where Envoy hands inbound requests to the application. */
export interface ApplicationPort {
  readonly host: string;
  readonly port: number;
}

/** Facts about a proxy that decide how long it drains. */
export interface UsedProxy {
  readonly kind: ProxyKind;
  /** The agent could not read a resource: an applied Dataplane may be a gateway. */
  readonly isGuess: boolean;
  /** How long kuma-dp alone would drain. */
  readonly drainTimeMs: number;
  /** Empty where the application's ports are unknown. */
  readonly applicationPorts: readonly ApplicationPort[];
}

/** How a dataplane's Envoy is used, from its resource. */
export function usedProxy({ key, resource, drainTimeMs }: DataplaneIdentity): UsedProxy {
  const kind = kindOf(key.proxyType, resource);
  return {
    kind,
    isGuess: key.proxyType === 'dataplane' && resource === undefined,
    drainTimeMs,
    applicationPorts: kind === 'sidecar' && resource !== undefined ? applicationPorts(resource) : [],
  };
}

/** A Dataplane of Kuma 3 may be a zone proxy: its listeners say so. */
function kindOf(
  proxyType: DataplaneIdentity['key']['proxyType'],
  resource: DataplaneResource | undefined,
): ProxyKind {
  if (proxyType === 'ingress') return 'zone ingress';
  if (proxyType === 'egress') return 'zone egress';
  const { gateway, listeners = [] } = resource?.networking ?? {};
  if (gateway !== undefined) return gateway.type === 'BUILTIN' ? 'builtin gateway' : 'delegated gateway';
  return listeners.some(({ type }) => type === 'ZoneIngress') ? 'zone ingress' : 'sidecar';
}

/**
 * Where Envoy hands requests to the application. With transparent proxying the agent probes loopback, because the
 * kernel may send a connection to any other address into Envoy. Ports on which Envoy itself listens prove nothing.
 *
 * @see kuma 2.14.3: api/mesh/v1alpha1/dataplane_helpers.go, `ToInboundInterface`
 */
function applicationPorts({ networking }: DataplaneResource): readonly ApplicationPort[] {
  const transparent = networking?.transparentProxying !== undefined;
  return (networking?.inbound ?? []).flatMap((inbound) => {
    const envoyHost = inbound.address ?? networking?.address;
    const host = inbound.serviceAddress ?? (transparent ? '127.0.0.1' : envoyHost);
    const port = inbound.servicePort ?? inbound.port;
    if (host === undefined || port === undefined) return [];
    return !transparent && host === envoyHost && port === inbound.port ? [] : [{ host, port }];
  });
}
