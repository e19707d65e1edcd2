import type { DataplaneResource } from './dataplane.ts';

/** What each port of an object says of itself, by `address:port`; the address is empty where it has none of its own. */
export type PortStates = Readonly<Record<string, string>>;

/**
 * `look` changes nothing. `out`: every port that is Ready becomes NotReady, which peers leave alone while Envoy keeps
 * its full configuration. `in`: every port that is NotReady becomes what `states` says.
 */
export type RotationOrder =
  | { readonly turn: 'look' | 'out' }
  | {
      readonly turn: 'in';
      readonly states: PortStates;
      /** Ports with a service probe are left to the control plane's health checks (HDS is on). */
      readonly leaveProbed: boolean;
    };

export interface RotationAnswer {
  /** Whether there is an object at all. A rotation never creates one. */
  readonly found: boolean;
  readonly changed: boolean;
  /** As they were found, before the change. */
  readonly states: PortStates;
}

export const NO_OBJECT: RotationAnswer = { found: false, changed: false, states: {} };

/**
 * The stored object as `order` wants it; the same object if it is so already.
 *
 * HDS of Kuma 2 writes `state` and `health`, and a peer believes the worse of the two, so both come back.
 *
 * @see kuma 2.10.1, v2.14.3 pkg/hds/tracker/callbacks.go (updateDataplane): NotReady becomes Ready at the next report
 * of an Envoy that is healthy, whoever wrote it
 */
export function turned(
  stored: DataplaneResource,
  order: RotationOrder,
): RotationAnswer & { readonly resource: DataplaneResource } {
  const states = portStates(stored);
  if (portsOf(stored).every((port) => stateFor(port, order) === undefined))
    return { found: true, changed: false, states, resource: stored };
  const turnPort = (port: Port): Port => {
    const state = stateFor(port, order);
    const health = state === 'Ready' && port['health'] !== undefined ? { health: { ready: true } } : {};
    return state === undefined ? port : { ...port, state, ...health };
  };
  const { networking } = stored;
  const { inbound, listeners } = networking ?? {};
  const resource = {
    ...stored,
    networking: {
      ...networking,
      ...(inbound === undefined ? {} : { inbound: inbound.map(turnPort) }),
      ...(listeners === undefined ? {} : { listeners: listeners.map(turnPort) }),
    },
  };
  return { found: true, changed: true, states, resource };
}

export function portStates(resource: DataplaneResource): PortStates {
  return Object.fromEntries(portsOf(resource).map((port) => [keyOf(port), port.state ?? 'Ready']));
}

/** What to put back later: a port that is out already says nothing of what it was before. */
export function rememberStates(before: PortStates, seen: PortStates): PortStates {
  const states = Object.entries(seen).map(([port, state]): [string, string] => [
    port,
    state === 'NotReady' ? (before[port] ?? state) : state,
  ]);
  return Object.fromEntries(states);
}

/** Ports that are out although they are to be something else. */
export function stillOut(wanted: PortStates, seen: PortStates): readonly string[] {
  return Object.keys(seen).filter(
    (port) => seen[port] === 'NotReady' && (wanted[port] ?? 'Ready') !== 'NotReady',
  );
}

/** @returns `undefined` where nothing is to change */
function stateFor(port: Port, order: RotationOrder): string | undefined {
  switch (order.turn) {
    case 'look':
      return undefined;
    case 'out':
      return (port.state ?? 'Ready') === 'Ready' ? 'NotReady' : undefined;
    case 'in': {
      if (port.state !== 'NotReady' || (order.leaveProbed && port['serviceProbe'] !== undefined))
        return undefined;
      const state = order.states[keyOf(port)] ?? 'Ready';
      return state === 'NotReady' ? undefined : state;
    }
  }
}

type Port = NonNullable<NonNullable<DataplaneResource['networking']>['inbound']>[number];

function portsOf({ networking }: DataplaneResource): readonly Port[] {
  return [...(networking?.inbound ?? []), ...(networking?.listeners ?? [])];
}

function keyOf({ address = '', port }: Port): string {
  return `${address}:${port ?? ''}`;
}
