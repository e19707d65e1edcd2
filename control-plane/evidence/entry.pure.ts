import type { DataplaneRecord, DepartureRecord } from '../records.pure.ts';

/** The evidence when an incarnation asks for a name that another one has, or had. */
export interface EntryCase {
  /**
   * The record of another incarnation that has the name. A record of a sweep has no incarnation. `undefined` without
   * a record.
   */
  readonly holder:
    | Pick<DataplaneRecord, 'epoch' | 'incarnation' | 'state' | 'serving' | 'lostAtMs'>
    | undefined;
  /** The store's time. */
  readonly nowMs: number;
  /**
   * The epoch of the holder whose Envoy has just refused this companion; `undefined`: it did not refuse, or was not
   * tried.
   */
  readonly refusedEpoch: number | undefined;
  readonly newcomer: Pick<DataplaneRecord, 'owner' | 'resource'>;
  /** The newcomer's own last departure from this name; `undefined` if there was none. */
  readonly departure: Pick<DepartureRecord, 'cause' | 'outcome'> | undefined;
  readonly graceMs: number;
}

/**
 * - `enter`: it gets the name, and the next epoch.
 * - `held`: the holder is attached and may serve; the newcomer waits until that changes.
 * - `superseded`: a newer incarnation took the name and still has it.
 * - `leaving`: its agent asked to leave and is still draining.
 */
export type EntryVerdict = 'enter' | 'held' | 'superseded' | 'leaving';

/**
 * Whether an incarnation gets the name. The control plane refuses the second of two dataplanes with one name while it
 * holds the stream of the first, and so does the companion while the first one serves.
 *
 * @see https://github.com/kumahq/kuma/pull/12886
 */
export function judgeEntry(given: EntryCase): EntryVerdict {
  const { departure } = given;
  const holder = given.holder?.incarnation === '' ? undefined : given.holder;
  if (holder === undefined)
    return departure === undefined || hasReturned(departure) ? 'enter' : endOf(departure);
  if (departure === undefined) return judgeHolder(holder, given);
  if (departure.cause === 'requested' || holder.lostAtMs === undefined) return 'superseded';
  // After a restart of the companion, the newer one may only be on its way back.
  return given.nowMs - holder.lostAtMs >= 2 * given.graceMs ? 'enter' : 'superseded';
}

/** An agent that was only cut off for longer than the grace, or whose successor has ended, begins anew. */
function hasReturned({ cause }: NonNullable<EntryCase['departure']>): boolean {
  return cause !== 'requested';
}

function endOf({ outcome }: NonNullable<EntryCase['departure']>): EntryVerdict {
  return outcome === 'superseded' ? 'superseded' : 'leaving';
}

function judgeHolder(
  { epoch, state, serving, lostAtMs }: NonNullable<EntryCase['holder']>,
  { refusedEpoch, newcomer }: EntryCase,
): EntryVerdict {
  const isAttached = state === 'attached' && lostAtMs === undefined;
  const mayServe = serving !== false && refusedEpoch !== epoch;
  return isAttached && mayServe && bringsObject(newcomer) ? 'held' : 'enter';
}

/** Whether the newcomer would replace the object: it owns one, or its kuma-dp brings one. */
function bringsObject({ owner, resource }: EntryCase['newcomer']): boolean {
  return owner === 'agent' || (resource !== undefined && resource !== '');
}
