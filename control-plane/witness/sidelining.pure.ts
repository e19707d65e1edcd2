import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { portStates } from '../../kuma/port-states.ts';
import { beforeSidelining, isSidelined, restored } from '../../kuma/sidelined.ts';
import type { DataplaneRecord, SideliningRecord } from '../records.pure.ts';

/** The evidence for one sidelining, while no other call acts on its name. */
export interface SideliningCase {
  readonly sidelining: SideliningRecord;
  readonly record: DataplaneRecord | undefined;
  /** The object now; `undefined` if there is none. */
  readonly stored: DataplaneOverview | undefined;
  /** Whether an agent of its name is attached here, or waits until the store has recorded that. */
  readonly isReturning: boolean;
  /** The store's time, in ms. */
  readonly nowMs: number;
  /** `--witness on`. Switched off, everything is put back. */
  readonly isOn: boolean;
  /** Whether the limits forbid it by now, although they did not when it was decided. */
  readonly isBarred: boolean;
}

/**
 * - `sideline`: the ports are to become NotReady now.
 * - `restore`: they go back to what they were, and the mark goes.
 * - `note`: nothing is written but the record.
 */
export type SideliningStep =
  | { readonly step: 'sideline' }
  | { readonly step: 'restore'; readonly resource: DataplaneResource }
  | { readonly step: 'note'; readonly sidelining: SideliningRecord };

/** Older evidence is out of date: the PUTs of a whole rack take this long. */
const EVIDENCE_MS = 20_000;
/** An abandoned write may land this much later. */
const HELD_MS = 10_000;
const SOON_MS = 2_000;
const LATER_MS = 30_000;
/** Until the store has recorded an agent that returns. */
const RETURNING_MS = 500;

/** Rules 7 to 10 of a lost host: what to do about one sidelining now. */
export function judgeSidelining(given: SideliningCase): SideliningStep {
  const { sidelining, stored } = given;
  if (stored === undefined) return judgeAbsence(given);
  switch (sidelining.stage) {
    case 'outstanding':
      return judgeOutstanding(given, stored);
    case 'out':
      return judgeOut(given, stored);
    case 'restoring':
      return judgeRestoring(given, stored);
    case 'released':
      return { step: 'note', sidelining };
  }
}

/** Whether the loss that caused it still exists. */
function isSuspect(
  record: DataplaneRecord | undefined,
  { epoch, lostAtMs, hasNoRecord }: SideliningRecord,
): boolean {
  if (record === undefined) return hasNoRecord;
  return record.epoch === epoch && record.state === 'lost' && record.lostAtMs === lostAtMs;
}

/** The object as it would be without it; another run's object unchanged. */
export function withoutSidelining(
  stored: DataplaneOverview,
  sidelining: SideliningRecord | undefined,
): DataplaneOverview {
  const states = sidelining?.isMarked === false && isEffective(sidelining) ? sidelining.states : undefined;
  const before = beforeSidelining(stored, states);
  if (before === stored) return stored;
  const isOurWrite = sidelining?.timeAfter !== undefined && stored.modificationTime === sidelining.timeAfter;
  return isOurWrite ? { ...before, modificationTime: sidelining.timeBefore } : before;
}

function isEffective({ isEffective: effective, stage }: SideliningRecord): boolean {
  return effective === true && stage !== 'released';
}

/** An abandoned write would create it anew, so the companion looks at it for a while longer. */
function judgeAbsence({ sidelining, nowMs }: SideliningCase): SideliningStep {
  return mayStillLand(sidelining, nowMs) ? again(sidelining, nowMs + SOON_MS) : released(sidelining);
}

function judgeOutstanding(given: SideliningCase, stored: DataplaneOverview): SideliningStep {
  const { sidelining, record, nowMs, isOn, isBarred, isReturning } = given;
  if (isOut(sidelining, stored))
    return note(sidelining, { stage: 'out', isEffective: true, dueAtMs: nowMs + SOON_MS });
  const mayGo =
    isOn &&
    !isBarred &&
    isSuspect(record, sidelining) &&
    nowMs - sidelining.beganAtMs < EVIDENCE_MS &&
    isOwn(sidelining, stored);
  if (mayGo) return isReturning ? again(sidelining, nowMs + RETURNING_MS) : { step: 'sideline' };
  return sidelining.unanswered === true
    ? note(sidelining, { stage: 'restoring', dueAtMs: nowMs + SOON_MS })
    : released(sidelining);
}

function judgeOut(given: SideliningCase, stored: DataplaneOverview): SideliningStep {
  const { sidelining, record, nowMs, isOn } = given;
  const isBack = record?.state === 'attached' && record.serving === true;
  if (!isOn || isBack) return judgeRestoring(given, stored);
  if (!isOut(sidelining, stored)) return released(sidelining);
  return again(sidelining, nowMs + (nowMs - sidelining.beganAtMs < LATER_MS ? SOON_MS : LATER_MS));
}

/** The companion no longer writes a leaving object: a write could create it anew. */
function judgeRestoring(given: SideliningCase, stored: DataplaneOverview): SideliningStep {
  const { sidelining, record, nowMs } = given;
  if (record?.state === 'leaving') return note(sidelining, { stage: 'restoring', dueAtMs: nowMs + SOON_MS });
  if (mayPutBack(sidelining, stored)) {
    const resource = restored(stored.resource, sidelining.states);
    if (resource !== stored.resource) return { step: 'restore', resource };
  }
  const { heldSinceMs = nowMs } = sidelining;
  if (nowMs - heldSinceMs >= HELD_MS) return released(sidelining);
  return note(sidelining, { stage: 'restoring', heldSinceMs, dueAtMs: nowMs + SOON_MS });
}

/**
 * The objects that bear the mark. If the control plane keeps none: those that are still out, until they were put back
 * once and no write of ours can land any more. After that, another writer has changed them.
 */
function mayPutBack(
  { isMarked, heldSinceMs, unanswered }: SideliningRecord,
  stored: DataplaneOverview,
): boolean {
  if (isSidelined(stored)) return true;
  return isMarked !== true && (heldSinceMs === undefined || unanswered === true);
}

/** Whether it is as this sidelining left it. */
function isOut(sidelining: SideliningRecord, stored: DataplaneOverview): boolean {
  if (isSidelined(stored, sidelining)) return true;
  const { isMarked, states, sentAtMs } = sidelining;
  if (isMarked === true || states === undefined || sentAtMs === undefined) return false;
  const seen = portStates(stored.resource);
  return Object.keys(states).some((port) => seen[port] === 'NotReady');
}

/** Whether the control plane may still carry out a write that it did not answer. */
export function mayStillLand({ unanswered, sentAtMs }: SideliningRecord, nowMs: number): boolean {
  return unanswered === true && sentAtMs !== undefined && nowMs - sentAtMs < HELD_MS;
}

function isOwn({ incarnation, address }: SideliningRecord, stored: DataplaneOverview): boolean {
  return judgeOwnership({ incarnation: incarnation === '' ? undefined : incarnation, address }, stored).ours;
}

function released(sidelining: SideliningRecord): SideliningStep {
  return note(sidelining, { stage: 'released' });
}

function again(sidelining: SideliningRecord, dueAtMs: number): SideliningStep {
  return note(sidelining, { dueAtMs });
}

function note(sidelining: SideliningRecord, change: Partial<SideliningRecord>): SideliningStep {
  return { step: 'note', sidelining: { ...sidelining, ...change } };
}

/** Whether a sidelining was dropped before it was carried out: as long as it is a suspect, its peers are asked anew. */
export function wasNotCarriedOut(sidelining: SideliningRecord | undefined): boolean {
  if (sidelining === undefined) return true;
  return sidelining.stage === 'released' && sidelining.isEffective !== true;
}
