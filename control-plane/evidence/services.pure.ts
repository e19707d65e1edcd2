import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { isObject } from '../../kernel/json.ts';

type Networking = NonNullable<DataplaneResource['networking']>;
type ServicePort = NonNullable<Networking['inbound']>[number];

/** What an overview, a resource and a kept body have in common. */
export interface Serving {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly networking?: DataplaneResource['networking'];
}

/** The inbound tag that names a service in Kuma 2. */
const SERVICE_TAG = 'kuma.io/service';
/** Labels that group dataplanes without inbound tags; Kuma's own first. */
const GROUP_LABELS = ['kuma.io/workload', 'app'] as const;

/**
 * The services of a dataplane, and whether it is ready for each. In Kuma 2 the tag `kuma.io/service` of an inbound or a
 * gateway names it. Kuma 3 has no tags: there, operators write MeshServices that select by any label, so dataplanes
 * with the same `kuma.io/workload` (otherwise `app`) count as one service.
 *
 * @returns empty for a dataplane without inbounds: it cannot be the last of a service
 * @see https://github.com/kumahq/kuma/blob/132cf988b0bceb004b5193e4937a197a79bfe689/docs/madr/decisions/103-universal-meshservice-generation.md
 * @see kuma pkg/core/resources/apis/meshservice/generate/generator.go (2.x: one MeshService for each tag)
 */
export function readinessByService(serving: Serving): ReadonlyMap<string, boolean> {
  const known = KNOWN.get(serving);
  if (known !== undefined) return known;
  const services = readServices(serving);
  KNOWN.set(serving, services);
  return services;
}

/** The brake asks for the same snapshot repeatedly. */
const KNOWN = new WeakMap<Serving, ReadonlyMap<string, boolean>>();

function readServices({ labels, networking }: Serving): ReadonlyMap<string, boolean> {
  const ports = [...(networking?.inbound ?? []), ...(networking?.listeners ?? [])];
  const gateway = networking?.['gateway'];
  const serving = ports.map((port) => ({ tags: port['tags'], ready: isReady(port) }));
  // A gateway has no inbounds and so no readiness.
  if (isObject(gateway)) serving.push({ tags: gateway['tags'], ready: true });
  const tagged = serving.map(({ tags, ready }) => ({ service: serviceTag(tags), ready }));
  if (tagged.some(({ service }) => service !== undefined)) return merge(tagged);
  const label = GROUP_LABELS.find((name) => labels?.[name] !== undefined);
  return merge(
    serving.map(({ ready }) => ({ service: label === undefined ? undefined : labels?.[label], ready })),
  );
}

/** One ready port is enough. */
function merge(
  ports: readonly { readonly service: string | undefined; readonly ready: boolean }[],
): ReadonlyMap<string, boolean> {
  const services = new Map<string, boolean>();
  for (const { service, ready } of ports) {
    if (service !== undefined) services.set(service, ready || services.get(service) === true);
  }
  return services;
}

/** Peers believe the worse of the two fields. @see kuma pkg/core/resources/apis/mesh/dataplane_helpers.go, GetHealthyInbounds */
function isReady(port: ServicePort): boolean {
  const health = port['health'];
  return port.state !== 'NotReady' && !(isObject(health) && health['ready'] === false);
}

function serviceTag(tags: unknown): string | undefined {
  const service = isObject(tags) ? tags[SERVICE_TAG] : undefined;
  return typeof service === 'string' ? service : undefined;
}
