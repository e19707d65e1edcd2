import { takesDataplanes } from '../../kuma/control-plane.ts';
import { INCARNATION_LABEL } from '../../kuma/dataplane.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import {
  isOnline,
  lastInstance,
  neverConnected,
  wasNeverReady,
  type DataplaneOverview,
  type Subscription,
} from '../../kuma/overview.ts';
import type { Cause, DataplaneRecord } from '../records.pure.ts';

/** The guards by their names in logs, metrics and answers. */
export const GUARDS = {
  'not-zone-cp': "This is not the zone's control plane",
  'not-lifecycle-managed': 'An operator applied the object by hand: the companion does not delete it',
  'subscription-online': 'A running control plane holds a stream of this dataplane',
  'newer-epoch': 'A newer incarnation has the name',
  'evidence-too-young': 'It has not been offline for long enough',
  'foreign-incarnation': 'The object belongs to another incarnation',
  'changed-since-read': 'The object changed while it was judged',
  probation: 'The control plane or the companion has not been up for long enough to judge',
  brake: 'Too many dataplanes were lost at once, or it is the last ready one of its service',
  'unknown-insight': 'The control plane does not say whether this dataplane is connected',
} as const satisfies Record<string, string>;

export type Guard = keyof typeof GUARDS;

/**
 * - `unchecked`: no control plane, or no store, has answered yet.
 * - `same`: nothing speaks against the control planes being of the zone that the store belongs to.
 * - `foreign`: the store belongs to another zone.
 */
export type ZoneStanding =
  | { readonly kind: 'unchecked' | 'same' }
  | { readonly kind: 'foreign'; readonly reason: string };

/** Facts that hold for all dataplanes, as this process sees them now. Durations are monotonic. */
export interface Surroundings {
  /** Ids of the control plane instances that answer now. */
  readonly liveInstances: ReadonlySet<string>;
  /** Ids of those that were seen to end: another one has taken their place. */
  readonly endedInstances: ReadonlySet<string>;
  /** Ids of instances without a URL or an answer: the end of a stream there proves nothing. */
  readonly doubtfulInstances: ReadonlySet<string>;
  /** Whether the control planes are of the zone that the store belongs to. */
  readonly zone: ZoneStanding;
  /** Configured control planes that do not answer: their streams are unknown. */
  readonly silentControlPlanes: number;
  /** `zone`, `standalone`, `global`; `undefined` if it cannot be read. */
  readonly mode: string | undefined;
  /** For how long this process and every control plane that answers have been up, as this process saw it. */
  readonly steadyMs: number;
  /** How long the control plane waits before it deletes what its own streams brought; `undefined` if it does not say. */
  readonly deregistrationDelayMs?: number | undefined;
  /** For how long this process alone has been up; `steadyMs` if not given. */
  readonly upMs?: number;
}

/** The evidence for one deletion. */
export interface DeletionCase {
  readonly cause: Cause;
  readonly record: Pick<DataplaneRecord, 'incarnation' | 'deletable' | 'address'> &
    Partial<Pick<DataplaneRecord, 'owner'>>;
  /** Incarnations of this name that are known to have ended. An object that carries the label of one is a leftover. */
  readonly predecessors?: ReadonlySet<string>;
  /** How long its agent's stream has been missing; `undefined` while one is open. */
  readonly missingMs: number | undefined;
  /** No replica saw its stream end: its agent may be attaching elsewhere. */
  readonly unseen?: boolean | undefined;
  /** Whether this process was refused at its inbounds just now; left out: unknown, or not asked. */
  readonly isRefused?: boolean;
  /**
   * How long ago its agent asked to leave, or it was first suspected. Believed only while this process has been up for
   * longer: a clock that was set back while no companion ran would make it too short.
   */
  readonly pendingMs: number;
  /** The object now. */
  readonly stored: DataplaneOverview;
  /** For how long this process has seen the object the same, as {@link sameLook} says. */
  readonly unchangedMs: number;
  /** The control plane's own clock when it answered; `undefined` if it did not say. */
  readonly clockMs: number | undefined;
  /** How long that clock has not been set ahead, as this process saw it; left out: it never was. */
  readonly clockSteadyMs?: number;
  readonly around: Surroundings;
  readonly graceMs: number;
  /** How long Kuma must show it offline before a sweep. */
  readonly sweepOfflineAfterMs: number;
}

/** `refuse` ends the departure, `wait` judges again after `retryAfterMs`. */
export type Judgement =
  | { readonly verdict: 'delete' }
  | { readonly verdict: 'refuse'; readonly guard: Guard; readonly reason: string }
  | {
      readonly verdict: 'wait';
      readonly guard: Guard;
      readonly reason: string;
      readonly retryAfterMs: number;
    };

/**
 * Envoy's longest backoff before it connects to a control plane again.
 *
 * @see kuma pkg/xds/bootstrap/template_v3.go (no retry policy of its own), envoy's RETRY_MAX_DELAY_MS in grpc_stream.h
 */
const RECONNECT_BACKOFF_MS = 30_000;
/** The wait before another look at something that only a control plane can change. */
const RELOOK_MS = 5_000;
/** The same right after a loss, when the control plane records the end of the stream. */
const FIRST_RELOOK_MS = 500;
/** Lower bound, even if the control plane waits for less: a TCP connection is reopened within this time. */
const SHORTEST_SILENCE_MS = 5_000;
/** Tolerance for the clocks of a zone's control planes and the network. */
const CLOCK_SLACK_MS = 2_000;

/** Whether this object may be deleted now. Where the evidence is not clear, it stays. The brake is asked last, elsewhere. */
export function judgeDeletion(given: DeletionCase): Judgement {
  return (
    judgePlace(given.around) ??
    judgeOwner(given) ??
    (given.cause === 'requested' ? judgeRequested(given) : judgeSuspected(given)) ?? { verdict: 'delete' }
  );
}

/** The fingerprint by which two looks at an object are the same. */
export function sameLook(a: DataplaneOverview, b: DataplaneOverview): boolean {
  return lookTrace(a) === lookTrace(b);
}

/** How long Kuma has shown it offline, by the control plane's clock; `undefined` if it does not. */
export function offlineMs(
  stored: DataplaneOverview,
  clockMs: number | undefined,
  clockSteadyMs = Number.POSITIVE_INFINITY,
): number | undefined {
  const ended = stored.subscriptions.map(({ disconnectTime }) => Date.parse(disconnectTime ?? ''));
  if (clockMs === undefined || ended.length === 0 || ended.some(Number.isNaN)) return undefined;
  return Math.max(0, Math.min(clockSteadyMs, clockMs - Math.max(...ended)));
}

/** The parts of an overview that stay the same while nothing happens to the object. */
export function lookTrace({
  creationTime,
  modificationTime,
  labels,
  subscriptions,
}: DataplaneOverview): string {
  return JSON.stringify([
    creationTime,
    // A control plane writes the object when a stream opens, up to seconds before it records the stream.
    modificationTime,
    labels[INCARNATION_LABEL],
    subscriptions.map(({ id, connectTime, disconnectTime }) => [id, connectTime, disconnectTime]),
  ]);
}

function judgePlace({ mode, zone }: Surroundings): Judgement | undefined {
  if (zone.kind === 'foreign') return wait('not-zone-cp', zone.reason, RELOOK_MS);
  if (zone.kind === 'unchecked')
    return wait('probation', 'the companion does not know its zone yet', RELOOK_MS);
  if (takesDataplanes(mode)) return undefined;
  return wait('not-zone-cp', `this is a ${mode ?? ''} control plane`, RELOOK_MS);
}

function judgeOwner({ cause, record, predecessors, stored }: DeletionCase): Judgement | undefined {
  const { incarnation, address, deletable } = record;
  const isLeftBehind = predecessors?.has(stored.labels[INCARNATION_LABEL] ?? '') === true;
  const ownership = judgeOwnership(
    { incarnation: incarnation === '' || isLeftBehind ? undefined : incarnation, address },
    stored,
  );
  if (!ownership.ours) return refuse('foreign-incarnation', ownership.reason);
  if (cause === 'requested') return undefined;
  const managed = cause === 'fallback' ? deletable : isLifecycleManaged(stored);
  return managed
    ? undefined
    : refuse('not-lifecycle-managed', 'neither a control plane nor an agent created it');
}

/**
 * The marks that an object is created and deleted by a machine: its kuma-dp brought the resource (Kuma 2.11 and later
 * say so), or an agent labelled it.
 *
 * @see kuma pkg/core/xds/metadata.go, FieldDataplaneDataplaneResource
 */
function isLifecycleManaged({ metadata, labels }: DataplaneOverview): boolean {
  return metadata['dataplane.resource'] !== undefined || labels[INCARNATION_LABEL] !== undefined;
}

/** Its own agent asked to leave, so that agent's stream proves nothing. */
function judgeRequested(given: DeletionCase): Judgement | undefined {
  const { missingMs, unchangedMs, stored, around, graceMs } = given;
  if (missingMs === undefined) return undefined;
  const since = stored.subscriptions.filter((each) => !wasBefore(each.connectTime, given));
  const isDoubtful = isLabelled(given)
    ? since.some(isOnline)
    : since.length > 0 || !wasBefore(stored.modificationTime ?? stored.creationTime, given);
  if (!isDoubtful) return undefined;
  const neededMs = graceMs + RECONNECT_BACKOFF_MS;
  const quietMs = isOfFuture(given) ? unchangedMs : quietSinceMs(given);
  const streams = judgeStreams(since, given);
  if (streams !== undefined) return streams;
  if (around.steadyMs < neededMs) return onProbation(neededMs - around.steadyMs);
  if (quietMs >= neededMs) return undefined;
  return wait(
    'evidence-too-young',
    `its object or streams changed after its agent had left: unchanged for ${seconds(quietMs)} of ${seconds(neededMs)}`,
    neededMs - quietMs,
  );
}

/**
 * Whether something existed before the request. The control plane's clock dates it; this process measures the age of
 * the request.
 */
function wasBefore(time: string | undefined, given: DeletionCase): boolean {
  const { clockMs, clockSteadyMs = Number.POSITIVE_INFINITY, pendingMs, around } = given;
  if (clockMs === undefined || (around.upMs ?? around.steadyMs) <= pendingMs) return false;
  return Math.min(clockSteadyMs, clockMs - Date.parse(time ?? '')) > pendingMs + CLOCK_SLACK_MS;
}

/**
 * Whether its own agent put it. Where it did not, a kuma-dp that brings the resource writes the object first, and its
 * stream is recorded later: that the object was written counts like a stream.
 *
 * @see kuma pkg/xds/server/callbacks/dataplane_lifecycle.go, register()
 */
function isLabelled({ stored, record }: DeletionCase): boolean {
  return record.incarnation !== '' && stored.labels[INCARNATION_LABEL] === record.incarnation;
}

/** How long nothing has happened to it, by the control plane's clock; 0 if that is unknown. */
function quietSinceMs({ stored, clockMs, clockSteadyMs = Number.POSITIVE_INFINITY }: DeletionCase): number {
  const times = timesOf(stored);
  if (clockMs === undefined || times.length === 0 || times.some(Number.isNaN)) return 0;
  return Math.max(0, Math.min(clockSteadyMs, clockMs - Math.max(...times)));
}

/**
 * Whether the control plane's clock was set back since. Until it has caught up, it cannot tell how long anything has
 * lasted; what this process saw itself counts then.
 */
function isOfFuture({ stored, clockMs }: DeletionCase): boolean {
  return clockMs !== undefined && Math.max(...timesOf(stored)) > clockMs + CLOCK_SLACK_MS;
}

function timesOf({ creationTime, modificationTime, subscriptions }: DataplaneOverview): readonly number[] {
  return [
    creationTime,
    modificationTime,
    ...subscriptions.flatMap((each) => [each.connectTime, each.disconnectTime]),
  ].flatMap((time) => (time === undefined ? [] : [Date.parse(time)]));
}

/** No agent requested it: the agent is silent, or there never was one. */
function judgeSuspected(given: DeletionCase): Judgement | undefined {
  const { cause, missingMs, graceMs, stored } = given;
  const reconnectedMs = graceMs + RECONNECT_BACKOFF_MS;
  const neededMs = cause === 'fallback' ? lostSilenceMs(given) : reconnectedMs;
  const steadyMs = cause === 'fallback' && !isCutOff(given) ? graceOf(given) : reconnectedMs;
  if (cause === 'fallback' && missingMs === undefined) {
    return wait('subscription-online', 'its agent is attached', RELOOK_MS);
  }
  const streams = judgeStreams(stored.subscriptions, given);
  if (streams !== undefined) return streams;
  return judgeSilence(given, neededMs, steadyMs) ?? judgeInsight(given);
}

/**
 * Whether its last stream was at a control plane that has ended, in a stop or a crash. That says nothing about the
 * dataplane: its Envoy may have failed to connect since, and may wait for its longest backoff. But a host often dies
 * with its control plane: after a crash, a refusal at its inbounds shortens the wait to the grace.
 */
function isCutOff({ stored, around, isRefused }: DeletionCase): boolean {
  const isOver = wasAtEndedPlane(stored, around);
  return isOver && (isRefused !== true || !stored.subscriptions.some(isOnline));
}

/** Whether a control plane that has crashed left its last stream open in the insight. */
export function wasLeftOpen(
  stored: DataplaneOverview,
  around: Pick<Surroundings, 'endedInstances'>,
): boolean {
  return wasAtEndedPlane(stored, around) && stored.subscriptions.some(isOnline);
}

function wasAtEndedPlane(
  { subscriptions }: DataplaneOverview,
  { endedInstances }: Pick<Surroundings, 'endedInstances'>,
): boolean {
  return endedInstances.has(lastInstance(subscriptions) ?? '');
}

/** One grace to notice that the replica is gone, and one to attach elsewhere. */
function graceOf({ unseen, graceMs }: DeletionCase): number {
  return unseen === true ? 2 * graceMs : graceMs;
}

/**
 * How long the agent and the streams of its object must have been silent. For an object that its agent put, the
 * companion acts as fast as the control plane does on its own objects: not slower than Kuma alone.
 */
function lostSilenceMs(given: DeletionCase): number {
  const { unseen, record, stored, around } = given;
  const { deregistrationDelayMs: delayMs } = around;
  const isShownEnded = stored.subscriptions.length > 0 && !stored.subscriptions.some(isOnline);
  if (unseen === true || record.owner !== 'agent' || !isShownEnded || delayMs === undefined)
    return graceOf(given);
  return Math.min(graceOf(given), Math.max(delayMs, SHORTEST_SILENCE_MS));
}

/** Whether every source has had enough time to report life. */
function judgeSilence(given: DeletionCase, neededMs: number, steadyMs = neededMs): Judgement | undefined {
  const { missingMs, unchangedMs, around } = given;
  if (around.steadyMs < steadyMs) return onProbation(steadyMs - around.steadyMs);
  const silentMs = Math.max(0, Math.min(unchangedMs, missingMs ?? unchangedMs));
  if (silentMs >= neededMs) return undefined;
  return wait(
    'evidence-too-young',
    `silent for ${seconds(silentMs)} of ${seconds(neededMs)}`,
    neededMs - silentMs,
  );
}

function judgeInsight(given: DeletionCase): Judgement | undefined {
  const { cause, stored, clockMs, sweepOfflineAfterMs, around, unchangedMs } = given;
  if (stored.subscriptions.length === 0) return judgeUnrecorded(given);
  if (stored.subscriptions.some(isOnline)) return undefined;
  const neededMs = cause === 'fallback' ? Math.min(given.graceMs, lostSilenceMs(given)) : sweepOfflineAfterMs;
  const last = lastInstance(stored.subscriptions);
  if (last !== undefined && around.doubtfulInstances.has(last))
    return unknownInsight(cause, `its last stream was at ${last}, which does not answer`);
  const shownMs = offlineMs(stored, clockMs, given.clockSteadyMs);
  if (shownMs === undefined) return unknownInsight(cause, 'Kuma does not say since when it is offline');
  const offline = isOfFuture(given) ? unchangedMs : shownMs;
  if (offline >= neededMs) return undefined;
  return wait(
    'evidence-too-young',
    `offline for ${seconds(offline)} of ${seconds(neededMs)}`,
    neededMs - offline,
  );
}

/**
 * No stream of it was ever recorded: it never connected, or its object was put back while it was connected. Kuma
 * records a living stream again within half of the control plane's idle timeout (2.5 min). Where Kuma never records
 * streams, there is metadata without them. A sweep takes only objects that no peer was told of, and those of an
 * incarnation whose agent has asked to leave: a control plane carried out a write of it late.
 *
 * @see kuma pkg/xds/server/callbacks/dataplane_status_sink.go; KUMA_METRICS_DATAPLANE_SUBSCRIPTION_LIMIT
 */
function judgeUnrecorded(given: DeletionCase): Judgement | undefined {
  const { cause, stored, graceMs, sweepOfflineAfterMs, predecessors } = given;
  const isNew = wasNeverReady(stored);
  if (cause === 'fallback' && isNew) return undefined;
  const isOver = cause === 'fallback' || predecessors?.has(stored.labels[INCARNATION_LABEL] ?? '') === true;
  const mayAge = (cause === 'sweep' && isNew) || (isOver && neverConnected(stored));
  return mayAge
    ? judgeSilence(given, Math.max(graceMs + RECONNECT_BACKOFF_MS, sweepOfflineAfterMs))
    : unknownInsight(cause, 'Kuma has recorded no stream of it');
}

/** A sweep serves no request: it looks again later, and leaves no row behind meanwhile. */
function unknownInsight(cause: Cause, reason: string): Judgement {
  return cause === 'sweep' ? refuse('unknown-insight', reason) : wait('unknown-insight', reason, RELOOK_MS);
}

/** Signs of life: a stream at an instance that answers, or whose end cannot be known. */
function judgeStreams(
  subscriptions: readonly Subscription[],
  { around, cause, missingMs }: DeletionCase,
): Judgement | undefined {
  const life = findLife(subscriptions, around);
  if (life === undefined) return undefined;
  if (life.certain && cause === 'sweep') return refuse('subscription-online', life.reason);
  return wait('subscription-online', life.reason, relookMs(missingMs));
}

/** The younger a loss, the sooner its evidence changes. */
function relookMs(missingMs = RELOOK_MS * 3): number {
  return Math.min(RELOOK_MS, Math.max(FIRST_RELOOK_MS, missingMs / 3));
}

/** A stream that proves, or may prove, that the dataplane lives: the companion cannot ask every control plane. */
export function findLife(
  subscriptions: readonly Subscription[],
  around: Surroundings,
): { readonly certain: boolean; readonly reason: string } | undefined {
  const online = subscriptions.filter(isOnline);
  const living = online.find(
    ({ controlPlaneInstanceId: id }) => id === undefined || around.liveInstances.has(id),
  );
  if (living !== undefined) {
    return { certain: true, reason: `connected to ${living.controlPlaneInstanceId ?? 'some instance'}` };
  }
  if (online.length === 0) return undefined;
  if (around.silentControlPlanes > 0 || around.liveInstances.size === 0) {
    return {
      certain: false,
      reason: 'connected to an instance that may live: not every control plane answers',
    };
  }
  const unknown = online.find(({ controlPlaneInstanceId: id = '' }) => !around.endedInstances.has(id));
  if (unknown === undefined) return undefined;
  const { controlPlaneInstanceId: id = '' } = unknown;
  return { certain: false, reason: `connected to ${id}, which was never seen to end` };
}

function wait(guard: Guard, reason: string, retryAfterMs: number): Judgement {
  return { verdict: 'wait', guard, reason, retryAfterMs };
}

function onProbation(retryAfterMs: number): Judgement {
  return wait('probation', 'the control plane or the companion has just started', retryAfterMs);
}

function refuse(guard: Guard, reason: string): Judgement {
  return { verdict: 'refuse', guard, reason };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
