import { INCARNATION_LABEL, type DataplaneResource } from './dataplane.ts';
import { isAfter, isOnline, type DataplaneOverview } from './overview.ts';

/** The marks of this run on its own object. */
export interface OwnDataplane {
  /**
   * Random, one per run; it is on the object's label if this run put the object. `undefined`: the object of any run is
   * meant.
   */
  readonly incarnation: string | undefined;
  /** Where the resource says that Envoy listens; `undefined` if there is no resource to read. */
  readonly address: string | undefined;
  /**
   * The age of this run, if no Envoy of it has said yet that the control plane accepted it. `undefined` if one has, or
   * if the run put the object.
   */
  readonly unprovenForMs?: number | undefined;
}

export type Ownership = { readonly ours: true } | { readonly ours: false; readonly reason: string };

/**
 * Whether the object under our name is ours to delete. Kuma has no conditional delete and its upserts overwrite, so a
 * replacement host may have taken the name over while we still run.
 */
export function judgeOwnership(
  own: OwnDataplane,
  found: {
    readonly labels?: Readonly<Record<string, string>> | undefined;
    readonly networking?: DataplaneResource['networking'];
  },
): Ownership {
  const incarnation = found.labels?.[INCARNATION_LABEL];
  if (incarnation !== undefined && own.incarnation !== undefined && incarnation !== own.incarnation) {
    return { ours: false, reason: `it carries another incarnation: ${incarnation}` };
  }
  const address = found.networking?.address;
  if (own.address !== undefined && address !== undefined && address !== own.address) {
    return { ours: false, reason: `it has another address: ${address} instead of ${own.address}` };
  }
  return { ours: true };
}

/** Kuma's `Date` is cut to the second, and the answer takes its time. */
const CLOCK_MARGIN_MS = 2_000;

/**
 * Whether a connected dataplane may be this run, none of whose Envoys was seen: two units may use the same file. A
 * stream that is older than the run belongs to another one. Both times are the control plane's.
 *
 * @param clockMs the time at the control plane; `undefined` if it is unknown, which proves nothing
 */
export function judgeConnected(
  found: DataplaneOverview,
  { unprovenForMs, clockMs }: { readonly unprovenForMs: number; readonly clockMs: number | undefined },
): Ownership {
  const ages = found.subscriptions
    .filter(isOnline)
    .map(({ connectTime }) => (clockMs ?? Number.NaN) - Date.parse(connectTime ?? ''));
  return ages.some((ageMs) => ageMs > unprovenForMs + CLOCK_MARGIN_MS)
    ? { ours: false, reason: 'another run was connected to it before this one began' }
    : { ours: true };
}

/**
 * What to do about an object that exists although it was deleted, after our kuma-dp has ended. `wait`: the control
 * plane has not yet recorded what decides it.
 */
export type Recreation = { readonly verdict: 'delete' | 'wait' | 'leave'; readonly reason: string };

/** `serving`: the Envoy of the run that asks holds a stream that it opened after the object was deleted. */
export type RunStage = 'serving' | 'ended';

/**
 * What to do about an object that exists although it was deleted, after the run's own Envoy has opened a new stream. An
 * online stream is its own, and the control plane has created the object again for it.
 */
export function judgeReturn(own: OwnDataplane, found: DataplaneOverview): Recreation {
  const ownership = judgeOwnership(own, found);
  if (!ownership.ours) return { verdict: 'leave', reason: ownership.reason };
  if (own.incarnation !== undefined && found.labels[INCARNATION_LABEL] === own.incarnation)
    return { verdict: 'delete', reason: 'it carries our incarnation' };
  return found.subscriptions.filter(isOnline).length > 1
    ? { verdict: 'wait', reason: 'more than one subscription is online: another run may have the name' }
    : { verdict: 'delete', reason: 'the control plane created it again for the stream of our own Envoy' };
}

/**
 * A control plane that restarts during a drain creates the object again when Envoy reconnects, because the stream
 * carries the resource. A replacement host that connects does the same. All times compared are the control plane's.
 */
export function judgeRecreation(own: OwnDataplane, found: DataplaneOverview): Recreation {
  const ownership = judgeOwnership(own, found);
  if (!ownership.ours) return { verdict: 'leave', reason: ownership.reason };
  if (found.subscriptions.some(isOnline)) return { verdict: 'wait', reason: 'a subscription is online' };
  const last = found.subscriptions.at(-1);
  // An object that carries our own label cannot be another run's, connected or not.
  if (own.incarnation !== undefined && found.labels[INCARNATION_LABEL] === own.incarnation) {
    return { verdict: 'delete', reason: 'it carries our incarnation' };
  }
  if (last?.disconnectTime === undefined)
    return { verdict: 'wait', reason: 'nothing has connected to it yet' };
  if (found.modificationTime !== undefined && isAfter(found.modificationTime, last.disconnectTime)) {
    return { verdict: 'wait', reason: 'it was written after its last subscription ended' };
  }
  return { verdict: 'delete', reason: 'its last subscription has ended' };
}
