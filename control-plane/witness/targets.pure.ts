import { isObject } from '../../kernel/json.ts';
import type { Target } from '../../kernel/tcp-findings.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import { portsOf, stateOf, type Port } from '../../kuma/port-states.ts';
import type { Networks } from './networks.pure.ts';

/** Where a peer's Envoy connects. */
export type Place = Target;

/** What the witness looks at before and after the targets. */
export interface Control extends Place {
  /** A port at the same address where nothing listens, as far as the fleet says. */
  readonly closedPort: number;
  /** Services of the suspect that the control is a sibling of. */
  readonly siblingOf: readonly string[];
}

/** The number of places to look at: an object with more is judged by the first ones. */
const MOST_TARGETS = 8;
const PORT_RANGE = { from: 20_000, count: 40_000 };

export function placeText({ address, port }: Place): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * The inbounds as peers connect to them. Left out: inbounds that are not Ready, UDP ports, places that another
 * dataplane claims too, and addresses that no witness may look at.
 */
export function targetsOf(
  overview: DataplaneOverview,
  claimedBy: ReadonlyMap<string, ReadonlySet<string>>,
  allowed: { readonly networks: Networks; readonly peer: string | undefined },
): readonly Place[] {
  const name = describeKey(keyOf(overview));
  return placesOf(overview)
    .filter((place) => allowed.networks.permits(place.address, allowed.peer))
    .filter((place) => [...(claimedBy.get(placeText(place)) ?? [])].every((each) => each === name))
    .slice(0, MOST_TARGETS);
}

/** Where peers reach the Ready inbounds. @see kuma pkg/core/resources/apis/mesh/dataplane_helpers.go, ToInboundInterface */
export function placesOf({ networking, resource }: DataplaneOverview): readonly Place[] {
  const advertised = networking?.['advertisedAddress'];
  const common = typeof advertised === 'string' && advertised !== '' ? advertised : networking?.address;
  return portsOf(resource)
    .filter((port) => stateOf(port) === 'Ready' && !isUdp(port))
    .flatMap(({ address = common, port }) =>
      address === undefined || port === undefined ? [] : [{ address, port }],
    );
}

/** The dataplanes that claim to listen at each place. */
export function claims(overviews: readonly DataplaneOverview[]): ReadonlyMap<string, ReadonlySet<string>> {
  const claimed = new Map<string, Set<string>>();
  for (const overview of overviews) {
    for (const place of placesOf(overview)) {
      const text = placeText(place);
      const names = claimed.get(text) ?? new Set();
      names.add(describeKey(keyOf(overview)));
      claimed.set(text, names);
    }
  }
  return claimed;
}

function isUdp(port: Port): boolean {
  const { tags } = port;
  const tag = isObject(tags) ? tags['kuma.io/protocol'] : undefined;
  return [port['protocol'], tag].some((each) => typeof each === 'string' && each.toLowerCase() === 'udp');
}

export interface ControlCase {
  readonly services: readonly string[];
  /** Addresses that no control may have: the suspect's and the witness's own. */
  readonly besides: ReadonlySet<string>;
  /** Places of attached dataplanes that may be looked at: siblings, or where there are none, others of the mesh. */
  readonly living: readonly (Place & { readonly services: readonly string[] })[];
  readonly claimed: ReadonlyMap<string, unknown>;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Drawn anew each time; `undefined` if there is no other host. */
export function drawControl(given: ControlCase): Control | undefined {
  const { services, besides, living, random } = given;
  const start = Math.floor(random() * living.length);
  for (let at = 0; at < living.length; at += 1) {
    const drawn = living[(start + at) % living.length];
    if (drawn === undefined || besides.has(drawn.address)) continue;
    const { address, port } = drawn;
    const siblingOf = services.filter((service) => drawn.services.includes(service));
    return { address, port, closedPort: closedPortAt(address, given), siblingOf };
  }
  return undefined;
}

/** A port that no dataplane claims; if another program listens there, the witness is unable once */
function closedPortAt(address: string, { claimed, random }: ControlCase): number {
  const { from, count } = PORT_RANGE;
  const start = Math.floor(random() * count);
  for (let at = 0; at < count; at += 1) {
    const port = from + ((start + at) % count);
    if (!claimed.has(placeText({ address, port }))) return port;
  }
  return from + start;
}
