import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { readyAs, type Want } from '../../kuma/object-wish.ts';
import type { RotationRecord } from './rotation-record.pure.ts';

/** The inputs that decide the wanted state of the object during a run. */
export interface ObjectFacts {
  /** The agent has put the object. */
  readonly owned: boolean;
  /** The rendered Dataplane, where there is one to read. */
  readonly template: DataplaneResource | undefined;
  /** Whether Envoy serves. */
  readonly serving: boolean;
  /** The request of a `drain` or `resume`, until both are done. */
  readonly rotation: RotationRecord | undefined;
  /** A write of this run may have changed the object since it was last seen. */
  readonly doubtful: boolean;
  /** The control plane's health checks are on. */
  readonly healthFeedback: boolean;
  /** The agent has made the object ready. */
  readonly madeReady: boolean;
  /** The control plane has accepted this run, and no companion puts back what one has sidelined. */
  readonly unattended: boolean;
}

/**
 * `rotation`: a drain or resume. `keep`: what the object's owner maintains. `mend`: what a late write may undo. `unmark`: the
 * sidelining of a companion that is not there any more.
 */
export interface ObjectPlan extends Want {
  readonly why: 'rotation' | 'keep' | 'mend' | 'unmark';
}

/** @returns `undefined` if this run must not change the object */
export function planObject(facts: ObjectFacts): ObjectPlan | undefined {
  const { template, serving, rotation } = facts;
  const owned = facts.owned ? template : undefined;
  if (rotation?.wanted === 'out')
    return { why: 'rotation', wish: { state: 'out', states: rotation.states }, template: owned };
  // An owned object becomes ready when its Envoy serves, and not before.
  if (owned !== undefined && !serving)
    return { why: 'keep', wish: { state: 'hidden', takeOver: false }, template: owned };
  if (rotation === undefined) return planInRotation(facts, owned);
  const { states } = rotation;
  return {
    why: 'rotation',
    wish: { state: 'ready', states, leaveProbed: facts.healthFeedback },
    template: owned,
  };
}

function planInRotation(
  { template, serving, doubtful, madeReady, unattended }: ObjectFacts,
  owned: DataplaneResource | undefined,
): ObjectPlan | undefined {
  if (owned !== undefined && (doubtful || !madeReady))
    return { why: 'keep', wish: readyAs(owned), template: owned };
  if (owned === undefined && doubtful && serving && template !== undefined)
    return { why: 'mend', wish: readyAs(template), template: undefined };
  return unattended ? { why: 'unmark', wish: { state: 'unmarked' }, template: undefined } : undefined;
}
