import { freePort } from '../world/free-port.ts';
import { type KumaBehaviour } from './behaviour.ts';
import { type WorldDataplane, type WorldInbound, type WorldZoneProxy } from './kuma-world.ts';

type Json = Readonly<Record<string, unknown>>;

type PlacedInbound = Required<WorldInbound>;

/** The inbounds of a dataplane, each with a port. */
export async function placeInbounds(dataplane: WorldDataplane): Promise<readonly PlacedInbound[]> {
  const { service, servicePort, inbounds = [{ service, servicePort }] } = dataplane;
  const placed: PlacedInbound[] = [];
  for (const { port, protocol = 'http', ...rest } of dataplane.gateway === undefined ? inbounds : []) {
    placed.push({ ...rest, protocol, port: port ?? (await freePort()) });
  }
  return placed;
}

/**
 * The Dataplane object of one instance. Up to Kuma 2 its inbounds and outbounds belong to services by tags; in Kuma 3 a
 * MeshService selects an inbound by a label.
 */
export function worldResource(
  dataplane: WorldDataplane & { readonly adminPort: number },
  inbounds: readonly PlacedInbound[],
  behaviour: KumaBehaviour,
): Json {
  const { name, service, adminPort, gateway, address = '127.0.0.1', outbounds = [] } = dataplane;
  return {
    type: 'Dataplane',
    mesh: 'default',
    name,
    labels: { app: service },
    networking: {
      address,
      ...(behaviour.adminSocket ? {} : { admin: { port: adminPort } }),
      ...(gateway === undefined ? {} : { gateway: { type: gateway, tags: { 'kuma.io/service': service } } }),
      ...(gateway === undefined
        ? { inbound: inbounds.map((inbound, index) => inboundOf(inbound, { dataplane, behaviour, index })) }
        : {}),
      ...(outbounds.length === 0
        ? {}
        : {
            outbound: outbounds.map((outbound) => ({
              port: outbound.port,
              tags: { 'kuma.io/service': outbound.service },
            })),
          }),
    },
  };
}

function inboundOf(
  { port, service, servicePort, protocol }: PlacedInbound,
  place: { readonly dataplane: WorldDataplane; readonly behaviour: KumaBehaviour; readonly index: number },
): Json {
  const { dataplane, behaviour, index } = place;
  return {
    port,
    servicePort,
    serviceAddress: '127.0.0.1',
    name: index === 0 ? 'main' : `port-${port}`,
    protocol,
    ...(behaviour.inboundTags ? { tags: { 'kuma.io/service': service, 'kuma.io/protocol': protocol } } : {}),
    ...(dataplane.serviceProbe === true ? { serviceProbe: {} } : {}),
  };
}

/** A ZoneIngress or ZoneEgress object. */
export function zoneProxyResource({
  name,
  kind,
  port,
  advertisedPort,
}: Pick<WorldZoneProxy, 'name' | 'kind' | 'port' | 'advertisedPort'>): Json {
  const networking = { address: '127.0.0.1', port };
  return kind === 'egress'
    ? { type: 'ZoneEgress', name, networking }
    : {
        type: 'ZoneIngress',
        name,
        networking: { ...networking, advertisedAddress: '127.0.0.1', advertisedPort },
      };
}
