import type { DataplaneKey } from '../kuma/dataplane.ts';
import type { PortStates } from '../kuma/port-states.ts';

/** The owner of the object, from the agent's introduction. */
export type ObjectOwner = 'cp' | 'agent' | 'external';

/** Why a dataplane departs: its agent asked to leave, its agent's stream was lost, or Kuma shows it offline. */
export type Cause = 'requested' | 'fallback' | 'sweep';

/**
 * The state of one name in the store.
 *
 * - `attached`: an agent's stream is open at `replica`.
 * - `unseen`: the replica that held its stream fell silent or was restarted. Its agent has until `dueAtMs` to attach again,
 * and nothing judges it before.
 * - `lost`: its stream ended without a word, or it was unseen for too long; the fallback deletion is due after the grace.
 * - `leaving`: the agent asked to leave; the deletion is due.
 * - `swept`: no agent, and Kuma shows it offline; the deletion is due.
 */
export type RecordState = 'attached' | 'unseen' | 'lost' | 'leaving' | 'swept';

/** One row: a name, its incarnation, and the pending work. Times are the store's, in ms. */
export interface DataplaneRecord {
  readonly key: DataplaneKey;
  /**
   * Fencing number: every action on this name is for one epoch, and valid only while that epoch is current. Never
   * reused.
   */
  readonly epoch: number;
  /** Empty for `swept`: there was no agent. */
  readonly incarnation: string;
  readonly owner: ObjectOwner;
  /** Whether the agent itself would delete the object. If not, the companion does not delete it on the agent's behalf. */
  readonly deletable: boolean;
  /** The address of Envoy in its resource. */
  readonly address: string | undefined;
  /** The IP address of its last stream. */
  readonly peer?: string | undefined;
  /** The rendered Dataplane as JSON, as the agent brought it. */
  readonly resource: string | undefined;
  readonly state: RecordState;
  /** When it entered this state. */
  readonly sinceMs: number;
  /** When its stream was lost; `undefined` while it is open. A leaving one may still have it open. */
  readonly lostAtMs: number | undefined;
  /** The process that holds its stream; `undefined` if none does. */
  readonly replica: string | undefined;
  /** The agent's own phase, from its last message. */
  readonly phase: string;
  /**
   * Whether its Envoy serves, from its last message; `undefined` while this incarnation has not said so on this stream.
   */
  readonly serving?: boolean | undefined;
  /** No replica saw its stream end: the one that held it fell silent or was restarted. */
  readonly unseen?: true | undefined;
  /** When the next attempt to delete it is due, or an `unseen` one becomes `lost`; `undefined` while `attached`. */
  readonly dueAtMs: number | undefined;
  /** Attempts so far. */
  readonly attempts: number;
  /** The guard that held back the last attempt. */
  readonly guard: string | undefined;
  readonly reason: string | undefined;
}

/** The number of characters of an agent's resource in a list of records: resources may be large and many. */
export const RESOURCE_HEAD = 4_096;

/** One record of a list. */
export type RecordSummary = Omit<DataplaneRecord, 'resource'> & {
  /** The beginning of `resource`. */
  readonly resourceHead?: string | undefined;
};

/** One dataplane, for everything that shows the fleet. */
export type FleetRecord = Pick<
  RecordSummary,
  | 'key'
  | 'incarnation'
  | 'epoch'
  | 'state'
  | 'address'
  | 'resourceHead'
  | 'phase'
  | 'replica'
  | 'attempts'
  | 'guard'
  | 'reason'
  | 'dueAtMs'
> & {
  /** When it came into this state; `undefined` while the store cannot be asked. */
  readonly sinceMs: number | undefined;
};

export const CAUSES: Readonly<Record<Exclude<RecordState, 'attached'>, Cause>> = {
  unseen: 'fallback',
  lost: 'fallback',
  leaving: 'requested',
  swept: 'sweep',
};

export type DepartureOutcome = 'deleted' | 'already gone' | 'refused' | 'superseded';

/** The end of a departure. Kept for a day: for `undo`, for people, and so that its incarnation never counts as new. */
export interface DepartureRecord {
  readonly key: DataplaneKey;
  readonly epoch: number;
  readonly incarnation: string;
  readonly cause: Cause;
  readonly outcome: DepartureOutcome;
  readonly guard: string | undefined;
  readonly reason: string;
  readonly attempts: number;
  readonly atMs: number;
}

export interface KnownDeparture extends DepartureRecord {
  /** Whether the object is kept, so that it can be put back. */
  readonly undoable: boolean;
}

/** Number of records of one mesh in one state, held back by one guard or none. */
export interface RecordCount {
  readonly mesh: string;
  readonly state: RecordState;
  /** The guard that held back the last attempt of each. */
  readonly guard: string | undefined;
  readonly count: number;
  /** Since when the oldest of them is in this state; the store's time, in ms. */
  readonly oldestSinceMs: number;
}

/** An object as it was just before it was deleted. */
export interface DeletedBody {
  readonly key: DataplaneKey;
  readonly epoch: number;
  /** JSON, as a PUT takes it. */
  readonly resource: string;
  readonly atMs: number;
}

/** The identity of a zone, from its control planes; unknown parts are `undefined`. */
export interface ZoneIdentity {
  /** `multizone.zone.name` of `GET /config`. */
  readonly name: string | undefined;
  /** `clusterId` of `GET /`, where it outlives the control plane: one with a store in memory makes a new one. */
  readonly clusterId: string | undefined;
}

/**
 * The record of a control plane instance, from its answers and the streams that name it.
 *
 * - `named`: it answered at a URL of ours, and nothing has shown yet that it ended.
 * - `shared`: the same, at a URL behind which there are several.
 * - `unnamed`: dataplanes are connected to it, and no URL of ours leads to it.
 * - `ended`: another instance has taken its place at its URL.
 */
export type InstanceStanding = 'named' | 'shared' | 'unnamed' | 'ended';

export interface InstanceRecord {
  readonly id: string;
  /** Without credentials; `undefined` for `unnamed`. */
  readonly url: string | undefined;
  readonly standing: InstanceStanding;
}

/**
 * - `outstanding`: decided; the write that makes its ports NotReady has not been answered yet, or was not sent.
 * - `out`: its ports are NotReady.
 * - `restoring`: its ports go back to what they were, and are compared until that has held.
 * - `released`: over. Kept for as long as it counts against others.
 */
export type SideliningStage = 'outstanding' | 'out' | 'restoring' | 'released';

/** A dataplane that the companion took out of rotation because no peer reached it. One for each name; times are the store's. */
export interface SideliningRecord {
  readonly key: DataplaneKey;
  /** The loss that this sidelining is for. */
  readonly epoch: number;
  readonly lostAtMs: number;
  readonly incarnation: string;
  /** The address of Envoy in its resource. */
  readonly address: string | undefined;
  /** The companion does not delete it, and keeps no record of its loss. */
  readonly hasNoRecord: boolean;
  readonly services: readonly string[];
  /** The testimony of each witness. */
  readonly reason: string;
  readonly stage: SideliningStage;
  readonly beganAtMs: number;
  readonly dueAtMs: number;
  /** The states to go back to, written before the first request that changes them. */
  readonly states?: PortStates | undefined;
  /** A write without an answer, which may still take effect. */
  readonly unanswered?: true | undefined;
  /** When the last write began. */
  readonly sentAtMs?: number | undefined;
  /** Whether its ports were seen NotReady by this sidelining. */
  readonly isEffective?: true | undefined;
  /** Whether the control plane keeps the mark. */
  readonly isMarked?: boolean | undefined;
  /** The object's modificationTime before and after the write. */
  readonly timeBefore?: string | undefined;
  readonly timeAfter?: string | undefined;
  /** Since when looks have found the object in its earlier state. */
  readonly heldSinceMs?: number | undefined;
}

/** A witness that reached a place. */
export interface Acquaintance {
  /** `address:port`. */
  readonly place: string;
  /** The subject of its token. */
  readonly subject: string;
  /** The address from which it looks. */
  readonly witness: string;
  readonly reachedAtMs: number;
}
