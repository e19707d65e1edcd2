import { INCARNATION_LABEL, type DataplaneResource } from './dataplane.ts';
import { judgeOwnership, type OwnDataplane } from './ownership.ts';
import { restored } from './sidelined.ts';
import {
  portKey,
  portsOf,
  portStates,
  stateOf,
  withPorts,
  type Port,
  type PortStates,
} from './port-states.ts';

/**
 * The state of the Dataplane object that a run wants.
 *
 * `hidden`: there, with every inbound NotReady: its own Envoy gets the full configuration and no peer sees it. `ready`:
 * each inbound that is NotReady has the state that `states` says. `out`: every inbound that is Ready is NotReady, for
 * maintenance. `unmarked`: as it was before the companion sidelined it; nothing else changes.
 */
export type Wish =
  | { readonly state: 'absent' }
  | { readonly state: 'unmarked' }
  | {
      readonly state: 'hidden';
      /** Replaces any object of that name, as a start does with the object of the previous run. */
      readonly takeOver: boolean;
    }
  | {
      readonly state: 'ready';
      /** By port; `Ready` for a port that is not named. */
      readonly states: PortStates;
      /** Ports with a service probe keep their state: only the probe knows whether the application answers. */
      readonly leaveProbed: boolean;
    }
  | {
      readonly state: 'out';
      /**
       * The states to go back to, which the caller has saved. While a Ready port is not among them, nothing changes; so
       * `{}` is a look. `any`: the caller does not save them first.
       */
      readonly states: PortStates | 'any';
    };

/** A wish, and what a missing object is created from. */
export interface Want {
  readonly wish: Wish;
  /** The rendered Dataplane; `undefined`: a missing object is not created. */
  readonly template: DataplaneResource | undefined;
}

export type NextObject =
  | { readonly next: 'put'; readonly resource: DataplaneResource }
  | { readonly next: 'delete' }
  | { readonly next: 'nothing' }
  | { readonly next: 'foreign'; readonly reason: string };

/** The result of a wish: whether the object existed and changed. */
export interface Made {
  readonly found: boolean;
  readonly changed: boolean;
  /** The states before the change. */
  readonly states: PortStates;
}

/**
 * What to do about the stored object. Applied to its own result it returns `nothing`, except for a `hidden`
 * that takes over.
 *
 * @param stored `undefined` if there is no object
 */
export function nextObject(stored: DataplaneResource | undefined, want: Want, own: OwnDataplane): NextObject {
  const { wish } = want;
  if (stored === undefined || (wish.state === 'hidden' && wish.takeOver)) return create(want, own);
  const ownership = judgeOwnership(own, stored);
  if (!ownership.ours) return { next: 'foreign', reason: ownership.reason };
  if (wish.state === 'absent') return { next: 'delete' };
  // A run that has a wish is alive, so this first undoes what the companion did while the run was lost.
  const resource = asWished(restored(stored), wish);
  return resource === stored ? { next: 'nothing' } : { next: 'put', resource };
}

/** The result for the caller, once `next` is carried out. */
export function madeOf(stored: DataplaneResource | undefined, { next }: NextObject): Made {
  const changed = next === 'put' || next === 'delete';
  return stored === undefined
    ? { found: false, changed, states: {} }
    : { found: true, changed, states: portStates(restored(stored)) };
}

/**
 * Ready as far as the template allows: a port that the template holds back, or that has a service probe, keeps its
 * state.
 */
export function readyAs(template: DataplaneResource): Wish & { readonly state: 'ready' } {
  return { state: 'ready', states: portStates(template), leaveProbed: true };
}

/** The stored object with its ports as `wish` says; the same object if they are so already. */
export function asWished(
  stored: DataplaneResource,
  wish: Exclude<Wish, { readonly state: 'absent' }>,
): DataplaneResource {
  const change = changeOf(wish);
  const ports = portsOf(stored);
  const uncovered =
    wish.state === 'out' && ports.some((port) => change(port) !== port && !isCovered(port, wish));
  return uncovered || ports.every((port) => change(port) === port) ? stored : withPorts(stored, change);
}

function create({ wish, template }: Want, { incarnation }: OwnDataplane): NextObject {
  if (template === undefined || wish.state === 'absent' || wish.state === 'unmarked')
    return { next: 'nothing' };
  const label = incarnation === undefined ? {} : { [INCARNATION_LABEL]: incarnation };
  const labelled = { ...template, labels: { ...template.labels, ...label } };
  const hidden = asWished(labelled, { state: 'hidden', takeOver: true });
  return { next: 'put', resource: wish.state === 'ready' ? asWished(hidden, wish) : hidden };
}

function isCovered(port: Port, { states }: Wish & { readonly state: 'out' }): boolean {
  return states === 'any' || states[portKey(port)] !== undefined;
}

/** @returns for each port the port as it is to be, or the same one */
function changeOf(wish: Exclude<Wish, { readonly state: 'absent' }>): (port: Port) => Port {
  if (wish.state === 'unmarked') return (port) => port;
  if (wish.state !== 'ready')
    return (port) => (stateOf(port) === 'Ready' ? { ...port, state: 'NotReady' } : port);
  const { states, leaveProbed } = wish;
  return (port) => {
    const state = states[portKey(port)] ?? 'Ready';
    const probed = leaveProbed && port['serviceProbe'] !== undefined;
    if (probed || state === 'NotReady' || !isHeldBack(port)) return port;
    return { ...port, state, ...(port['health'] === undefined ? {} : { health: { ready: true } }) };
  };
}

/**
 * HDS of Kuma 2 writes `state` and `health`, and a peer believes the worse of the two.
 *
 * @see kuma 2.10.1, v2.14.3 pkg/hds/tracker/callbacks.go (updateDataplane)
 */
function isHeldBack(port: Port): boolean {
  const health = port['health'] as { readonly ready?: boolean } | undefined;
  return (
    stateOf(port) === 'NotReady' ||
    (stateOf(port) === 'Ready' && health !== undefined && health.ready !== true)
  );
}
