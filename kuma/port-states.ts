import type { DataplaneResource } from './dataplane.ts';

/** The state of each port of an object, by `address:port`; the address is empty where the port has none of its own. */
export type PortStates = Readonly<Record<string, string>>;

/** An inbound of Kuma 2, or a listener of Kuma 3: both have a state. */
export type Port = NonNullable<NonNullable<DataplaneResource['networking']>['inbound']>[number];

export function portsOf({ networking }: DataplaneResource): readonly Port[] {
  return [...(networking?.inbound ?? []), ...(networking?.listeners ?? [])];
}

/** @returns `Ready` for a port without a state, as Kuma takes it */
export function stateOf(port: Port): string {
  return port.state ?? 'Ready';
}

export function portKey({ address = '', port }: Port): string {
  return `${address}:${port ?? ''}`;
}

export function portStates(resource: DataplaneResource): PortStates {
  return Object.fromEntries(portsOf(resource).map((port) => [portKey(port), stateOf(port)]));
}

/** The resource with each port as `change` returns it. */
export function withPorts(resource: DataplaneResource, change: (port: Port) => Port): DataplaneResource {
  const { networking } = resource;
  if (networking === undefined) return resource;
  const { inbound, listeners } = networking;
  return {
    ...resource,
    networking: {
      ...networking,
      ...(inbound === undefined ? {} : { inbound: inbound.map(change) }),
      ...(listeners === undefined ? {} : { listeners: listeners.map(change) }),
    },
  };
}

/** The states to go back to later. A port that is NotReady already is not among them: its earlier state is unknown. */
export function rememberStates(before: PortStates, seen: PortStates): PortStates {
  const states = Object.entries(seen).map(([port, state]): [string, string] => [
    port,
    state === 'NotReady' ? (before[port] ?? state) : state,
  ]);
  return Object.fromEntries(states);
}

/** Ports that are NotReady but should not be. */
export function stillOut(wanted: PortStates, seen: PortStates): readonly string[] {
  return Object.keys(seen).filter(
    (port) => seen[port] === 'NotReady' && (wanted[port] ?? 'Ready') !== 'NotReady',
  );
}

/** The addresses and ports on which its Envoy will listen. */
export function listeningPorts(
  resource: DataplaneResource,
): readonly { readonly address: string; readonly port: number }[] {
  return portsOf(resource).flatMap(({ address, port }) =>
    port === undefined ? [] : [{ address: address ?? resource.networking?.address ?? '', port }],
  );
}
