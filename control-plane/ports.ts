import type { DataplaneKey, DataplaneResource } from '../kuma/dataplane.ts';
import type { DataplaneOverview } from '../kuma/overview.ts';
import type {
  Acquaintance,
  Cause,
  DataplaneRecord,
  DeletedBody,
  DepartureOutcome,
  DepartureRecord,
  InstanceRecord,
  KnownDeparture,
  ObjectOwner,
  RecordCount,
  RecordSummary,
  SideliningRecord,
  ZoneIdentity,
} from './records.pure.ts';
import type { InstanceLook } from './control-planes/instance-look.pure.ts';

/** An agent's facts about its run when it attaches or leaves. Its token was checked. */
export interface Introduction {
  readonly key: DataplaneKey;
  readonly incarnation: string;
  readonly owner: ObjectOwner;
  readonly deletable: boolean;
  readonly address: string | undefined;
  readonly resource: string | undefined;
  readonly phase: string;
  /** The highest epoch that this incarnation ever had, by its own account. */
  readonly shownEpoch?: number;
  /** The IP address that its stream comes from. */
  readonly peer?: string | undefined;
}

/** The caller's facts that decide which incarnation gets a name. */
export interface EntryView {
  readonly graceMs: number;
  /** The epoch of the holder whose Envoy has just refused this process. */
  readonly refusedEpoch?: number;
}

/**
 * - `attached`: it has its epoch: a new one for a new incarnation, its own for a returning one.
 * - `superseded`: a newer incarnation has the name; this one must not act on it any more.
 * - `held`: an older incarnation has the name, its stream is open, and its Envoy may serve.
 */
export type AttachVerdict =
  | {
      readonly kind: 'attached';
      readonly epoch: number;
      readonly leaving: boolean;
      /** The store knows that its Envoy serves, from an earlier stream. */
      readonly serving?: true;
      /** The store's epochs were behind its own records, or behind this agent's earlier epoch. */
      readonly raised?: true;
    }
  | { readonly kind: 'superseded' }
  | { readonly kind: 'held'; readonly holder: DataplaneRecord };

/**
 * - `leaving`: durably recorded.
 * - `departed`: it left already, with this outcome.
 * - `contested`: the store does not know it, and another incarnation of the name is lost, but may live. Nothing is
 *   recorded.
 */
export type Leave =
  | { readonly kind: 'leaving'; readonly epoch: number }
  | { readonly kind: 'contested' }
  | { readonly kind: 'departed'; readonly departure: DepartureRecord }
  | { readonly kind: 'superseded' };

export interface LeaveOptions {
  readonly headStartMs: number;
  readonly again?: boolean;
  /** The time since the request, if the store could not be told before; whole ms. */
  readonly agoMs?: number;
}

/** The result of one attempt to delete. */
export type AttemptResult =
  | {
      readonly kind: 'ended';
      readonly outcome: DepartureOutcome;
      readonly guard?: string;
      readonly reason: string;
      /** The object as it was, to be kept; not needed after `keepBody`. */
      readonly body?: string;
    }
  | { readonly kind: 'later'; readonly afterMs: number; readonly guard?: string; readonly reason: string };

/** An attempt's lock on the name. */
export interface Fence {
  /** The store's time when the lock began. */
  readonly nowMs: number;
  /**
   * Call it right before the bytes of a DELETE, with nothing in between.
   *
   * @throws `FENCE_LOST` once the lock may have ended on either clock, for example after a pause of the process
   */
  assertHeld(): void;
  /** Stores the object durably before it is deleted, whatever the result of the attempt. */
  keepBody(resource: string): Promise<void>;
  /**
   * Waits until no other attempt, at any replica, holds `what`, and holds it until this attempt is recorded.
   *
   * @throws `STORE_BUSY` if that takes too long
   */
  alone(what: string): Promise<void>;
  /** A newer incarnation may have the name: only an object with the record's own label may go. */
  readonly isBlind?: true;
}

/** The incarnations of this name that have ended, by a departure for one of `causes`. */
export type Predecessors = (key: DataplaneKey, causes: readonly Cause[]) => Promise<ReadonlySet<string>>;

/** The position of this replica among the replicas of the store: `share` in [0, `of`). */
export interface DueShare {
  readonly share: number;
  readonly of: number;
}

export interface Heartbeat {
  /** Replicas with a heartbeat within the given time, this one included. */
  readonly replicas: readonly string[];
  /**
   * The time of this replica's last heartbeat, by the store, ms; `undefined`: there was none, or it counted as dead.
   */
  readonly foundMs: number | undefined;
  /** When this heartbeat was recorded, ms. */
  readonly saidMs: number;
  /** The attached records with an open stream at this replica. */
  readonly held: StreamSum;
}

export interface Silence {
  /** The asking replica: it is not silent, however long its own question took. */
  readonly self: string;
  /** Additional time for agents to return, because this replica was too busy to attach them, in ms. */
  readonly owedMs: number;
  /** A replica without a heartbeat for this long is silent. */
  readonly silentMs: number;
  /** The time for this number of agents to return, in ms. */
  readonly returnMs: (agents: number) => number;
  /** No replica ran to which the agents could return: the time of the unseen ones begins now. */
  readonly anew: boolean;
}

export interface UnseenCount {
  /** The number that became `unseen`. */
  readonly unseen: number;
  /** The number that became `lost`, because their agents did not return in time. */
  readonly lost: number;
  /** The number that is `unseen` now. */
  readonly expected: number;
}

/** The digest by which two sets of streams are compared without reading them */
export interface StreamSum {
  readonly count: number;
  readonly epochs: number;
}

/** The facts about a name while no other call attaches, leaves, deletes or sidelines under it. */
export interface Alone {
  readonly record: DataplaneRecord | undefined;
  readonly sidelining: SideliningRecord | undefined;
  readonly fence: Pick<Fence, 'nowMs' | 'assertHeld'>;
  /** Records it durably before a request is sent, whatever happens later. */
  readonly keep: (sidelining: SideliningRecord) => Promise<void>;
}

/** The number of open streams at all replicas, and the times of losses without a return, in the store's time. */
export interface StreamCounts {
  readonly attached: number;
  readonly lostAtMs: readonly number[];
}

export interface AttemptedDeletion {
  readonly record: DataplaneRecord;
  readonly result: AttemptResult;
}

/** The store. Every method is one transaction. */
export interface Store {
  readonly kind: 'sqlite' | 'postgres';
  /** The store's clock in ms since the epoch, the same for all replicas, never backwards within a process. */
  nowMs(): Promise<number>;

  /** Records this replica's heartbeat. */
  heartbeat(replica: string, withinMs: number): Promise<Heartbeat>;
  /**
   * Attached records of a silent replica become `unseen`, as of its last heartbeat. The store drops that heartbeat, so
   * that a living replica learns of it with its next one. Records that have been unseen for as long as their agents may
   * take to return become `lost`, and due at once: the judging code knows the grace.
   */
  noteSilence(silence: Silence): Promise<UnseenCount>;
  /** The incarnations of all `unseen` records. */
  unseenIncarnations(): Promise<readonly string[]>;

  attach(introduction: Introduction, replica: string, entry?: EntryView): Promise<AttachVerdict>;
  /**
   * For a stream that stayed open while this process or the store was away: takes the record back unless another
   * replica has it by now.
   */
  reattach(
    introduction: Introduction,
    replica: string,
    entry?: EntryView,
  ): Promise<AttachVerdict | { readonly kind: 'elsewhere' }>;
  /**
   * The stream of this epoch ended at this replica. Without effect if the record has moved on since.
   *
   * @param returnMs how long its agent has to return before it counts as lost: the end is no sign that it is gone. If left
   * out, it is lost now
   */
  detach(
    at: { readonly key: DataplaneKey; readonly epoch: number },
    replica: string,
    returnMs?: number,
  ): Promise<void>;
  notePhase(
    at: { readonly key: DataplaneKey; readonly epoch: number },
    said: { readonly phase: string; readonly serving: boolean },
  ): Promise<void>;
  /**
   * Records that this incarnation leaves; an unknown one gets a record at once. Other replicas make their first
   * attempt after `headStartMs`, since the replica that recorded it tries first. With `again`, an incarnation that
   * has departed leaves once more: its object was created again.
   */
  leave(introduction: Introduction, options: LeaveOptions & { readonly replica: string }): Promise<Leave>;
  /** @returns `false` if the name has a record already, which then decides */
  beginSweep(key: DataplaneKey): Promise<boolean>;

  /**
   * Takes the lock of one due record (or of the given epoch of a name, due or not, unless `attached`), lets `act` act
   * on it, and records the result; all or nothing. A caller that attaches or leaves under this name meanwhile waits. A
   * record that another caller has locked is passed over.
   *
   * Each of several replicas takes its share of the due records, and the others' only after they have been due for a
   * while: only the replica that looked at an object before knows how long it has been unchanged.
   *
   * If `act` throws, nothing is written, and the error is passed on.
   *
   * @returns `undefined` if there is none
   */
  attempt(
    which: 'next due' | DueShare | { readonly key: DataplaneKey; readonly epoch: number },
    act: (record: DataplaneRecord, fence: Fence) => Promise<AttemptResult>,
  ): Promise<AttemptedDeletion | undefined>;
  /** Runs `act` while no other caller attaches, leaves or deletes under this name, if `epoch` is still its current one. @returns `undefined` if not */
  whileCurrent<T>(
    at: { readonly key: DataplaneKey; readonly epoch: number },
    act: (record: DataplaneRecord, fence: Fence) => Promise<T>,
  ): Promise<T | undefined>;

  find(key: DataplaneKey): Promise<DataplaneRecord | undefined>;
  /** The records, with the beginning of their resources. */
  records(): Promise<readonly RecordSummary[]>;
  /** The numbers of records, without reading them. */
  counts(): Promise<readonly RecordCount[]>;
  /** Newest first. */
  departures(filter: {
    readonly key?: DataplaneKey;
    readonly incarnation?: string;
    readonly causes?: readonly Cause[];
    readonly sinceMs?: number;
    readonly limit: number;
  }): Promise<readonly KnownDeparture[]>;
  lastDeletedBody(key: DataplaneKey): Promise<DeletedBody | undefined>;
  /** The bodies of all names, deleted at `sinceMs` or later, for one of `causes` if given. */
  deletedBodies(sinceMs: number, causes?: readonly Cause[]): Promise<readonly DeletedBody[]>;

  /** Empty mesh: every mesh. */
  releaseBrake(mesh: string, untilMs: number): Promise<void>;
  brakeReleases(): Promise<readonly { readonly mesh: string; readonly untilMs: number }[]>;

  /**
   * Forgets departures, bodies and releases from before `beforeMs`, replicas that have long been silent, and of a name
   * with many departures and bodies all but the newest.
   */
  prune(beforeMs: number): Promise<void>;
  /**
   * Binds the store to this zone, if it has none yet. Parts of its zone that were unknown then are filled in.
   *
   * @returns the zone that it is bound to
   */
  bindZone(zone: ZoneIdentity): Promise<ZoneIdentity>;
  /** The noted control plane instances of the zone. */
  instances(): Promise<readonly InstanceRecord[]>;
  /** Notes these, and drops those that no replica has noted since `beforeMs`. */
  noteInstances(instances: readonly InstanceRecord[], beforeMs: number): Promise<void>;

  /**
   * Decides in one transaction about all candidates, one replica after the other.
   *
   * @param choose gets all facts about each name, is called once, and returns the sidelinings to write
   * @returns the written ones
   */
  reserveSidelinings(
    choose: (known: readonly SideliningRecord[], nowMs: number) => readonly SideliningRecord[],
  ): Promise<readonly SideliningRecord[]>;
  /**
   * Runs `act` while no other call attaches, leaves or deletes under this name, with or without a record, and stores
   * the sidelining that it returns.
   *
   * @throws `STORE_BUSY`
   */
  whileAlone<T>(
    key: DataplaneKey,
    act: (alone: Alone) => Promise<{ readonly value: T; readonly sidelining?: SideliningRecord }>,
  ): Promise<T>;
  /** `undefined` if there is none, or it is over. */
  sidelining(key: DataplaneKey): Promise<SideliningRecord | undefined>;
  /** The sidelinings that are not over. */
  sidelinings(): Promise<readonly SideliningRecord[]>;
  /** The sidelinings that are due, or still out although an agent of the name is attached and serves. */
  dueSidelinings(limit: number): Promise<readonly SideliningRecord[]>;
  noteAcquaintances(reached: readonly Acquaintance[]): Promise<void>;
  /** Witnesses that reached these places, at `sinceMs` or later. */
  acquaintances(places: readonly string[], sinceMs: number): Promise<readonly Acquaintance[]>;
  /** Counts over all replicas; lost at `sinceMs` or later. */
  streamCounts(sinceMs: number): Promise<StreamCounts>;
  /** Records that lost their streams at `sinceMs` or later and have not come back. */
  lostSince(sinceMs: number): Promise<readonly DataplaneRecord[]>;

  /** Makes all waiting departures due now, because a control plane came back. */
  hasten(): Promise<void>;
  close(): Promise<void>;
}

/** One object, looked at; `overview` is `undefined` if it is not there. */
export interface OverviewLook {
  readonly overview: DataplaneOverview | undefined;
  /** The control plane's own clock when it answered, ms since the epoch; `undefined` if it did not say. */
  readonly clockMs: number | undefined;
}

export interface OverviewPage {
  readonly overviews: readonly DataplaneOverview[];
  /** How long this process was busy while it was read, in ms. */
  readonly workMs?: number;
  /** The control plane's own clock when it answered, ms since the epoch; `undefined` if it did not say. */
  readonly clockMs: number | undefined;
}

/**
 * The zone's control planes, through their REST API; the objects through the first that answers. Each call is one
 * attempt per control plane that ends with `signal` at the latest and throws `OperationalError`.
 */
export interface ControlPlanes {
  /** Asks each control plane for its identity. Never throws. */
  look(signal: AbortSignal): Promise<readonly InstanceLook[]>;
  overview(key: DataplaneKey, signal: AbortSignal): Promise<OverviewLook>;
  /** Every dataplane of every mesh. */
  overviews(signal: AbortSignal): Promise<OverviewPage>;
  read(key: DataplaneKey, signal: AbortSignal): Promise<DataplaneResource | undefined>;
  /** Whether another ready dataplane of the zone has this service. */
  hasSibling(key: DataplaneKey, service: string, signal: AbortSignal): Promise<boolean>;
  /** @param options `beforeSend` as in {@link ControlPlanes.delete} */
  put(
    key: DataplaneKey,
    resource: DataplaneResource,
    options: { readonly beforeSend: () => void; readonly signal: AbortSignal },
  ): Promise<void>;
  /** @param beforeSend called right before the request is written; if it throws, nothing is sent */
  delete(key: DataplaneKey, beforeSend: () => void, signal: AbortSignal): Promise<'deleted' | 'already gone'>;
  close(): void;
}

/** The caller, from a token whose signature, time and revocation were checked. */
export interface Credential {
  /** What the token is bound to; empty: not bound. */
  readonly name: string;
  readonly mesh: string;
  readonly tags: Readonly<Record<string, readonly string[]>>;
  readonly workload: string;
  /** Identifies the token in logs and limits, without containing it. */
  readonly id: string;
}

export interface Authenticator {
  /**
   * @param token as it came in the metadata; @param by the mesh whose keys sign, and the caller's address block
   * @throws `UNAUTHENTICATED`, or with a retryable code while the keys cannot be read; worded for a stranger, the log's
   * reason is in `details.reason`
   */
  authenticate(token: string, by: { readonly mesh: string; readonly address: string }): Promise<Credential>;
}
