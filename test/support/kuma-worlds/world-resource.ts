import { type KumaBehaviour } from './behaviour.ts';
import { type WorldDataplane } from './kuma-world.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * The Dataplane object of one instance. Up to Kuma 2 its inbound belongs to a service by a tag; in Kuma 3 a MeshService
 * selects it by a label.
 */
export function worldResource(
  dataplane: WorldDataplane & {
    readonly inboundPort: number;
    readonly adminPort: number;
    readonly outbound?: Json;
  },
  behaviour: KumaBehaviour,
): Json {
  const { name, service, servicePort, inboundPort, adminPort, outbound } = dataplane;
  return {
    type: 'Dataplane',
    mesh: 'default',
    name,
    labels: { app: service },
    networking: {
      address: '127.0.0.1',
      ...(behaviour.adminSocket ? {} : { admin: { port: adminPort } }),
      inbound: [
        {
          port: inboundPort,
          servicePort,
          serviceAddress: '127.0.0.1',
          name: 'main',
          protocol: 'http',
          ...(behaviour.inboundTags
            ? { tags: { 'kuma.io/service': service, 'kuma.io/protocol': 'http' } }
            : {}),
          ...(dataplane.serviceProbe === true ? { serviceProbe: {} } : {}),
        },
      ],
      ...(outbound === undefined ? {} : { outbound: [outbound] }),
    },
  };
}
