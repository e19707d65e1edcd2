import { INCARNATION_LABEL } from '../../kuma/dataplane.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import { isOnline, type DataplaneOverview, type Subscription } from '../../kuma/overview.ts';
import type { Cause, DataplaneRecord } from './records.ts';

/** What can hold a deletion back, by the name it has in logs, metrics and answers. */
export const GUARDS = {
  'not-zone-cp': 'The control plane is not the one that dataplanes belong to',
  'not-lifecycle-managed': 'Somebody applied the object by hand: it is not ours to delete',
  'subscription-online': 'A control plane that lives holds a stream of this dataplane',
  'newer-epoch': 'A newer incarnation has the name',
  'evidence-too-young': 'It has not been gone for long enough',
  'foreign-incarnation': 'The object is another incarnation’s',
  'changed-since-read': 'The object changed while it was judged',
  probation: 'The control plane or the companion has not been up for long enough to believe a silence',
  brake: 'Too many dataplanes have vanished at once, or it is the last one of its service',
  'unknown-insight': 'The control plane does not say whether this dataplane is connected',
} as const satisfies Record<string, string>;

export type Guard = keyof typeof GUARDS;

/** What holds for all dataplanes alike, as this process sees it now. Durations are monotonic. */
export interface Surroundings {
  /** Ids of the control plane instances that answer now. */
  readonly liveInstances: ReadonlySet<string>;
  /** Configured control planes that do not answer: what they hold cannot be told. */
  readonly silentControlPlanes: number;
  /** `zone`, `standalone`, `global`; `undefined` if it cannot be read. */
  readonly mode: string | undefined;
  /** For how long this process and every control plane that answers have been up, as this process saw it. */
  readonly steadyMs: number;
}

/** Everything a deletion is judged by. */
export interface DeletionCase {
  readonly cause: Cause;
  readonly record: Pick<DataplaneRecord, 'incarnation' | 'deletable' | 'address'>;
  /** How long its agent's stream has been missing; `undefined` while one is open. */
  readonly missingMs: number | undefined;
  /** How long ago it was announced or first suspected. */
  readonly pendingMs: number;
  /** The object now. */
  readonly stored: DataplaneOverview;
  /** For how long this process has seen the object with the same subscriptions and the same creation time. */
  readonly unchangedMs: number;
  /** The control plane's own clock when it answered; `undefined` if it did not say. */
  readonly clockMs: number | undefined;
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
/** Before what only a control plane can change is looked at again. */
const RELOOK_MS = 5_000;
/** Clocks of one zone's control planes and our way to them. */
const CLOCK_SLACK_MS = 2_000;

/** Whether this object may be deleted now. Where the evidence is not clear, it stays. The brake is asked last, elsewhere. */
export function judgeDeletion(given: DeletionCase): Judgement {
  return (
    judgePlace(given.around) ??
    judgeOwner(given) ??
    (given.cause === 'announced' ? judgeAnnounced(given) : judgeSuspected(given)) ?? { verdict: 'delete' }
  );
}

/** The fingerprint by which two looks at an object are the same. */
export function sameLook(a: DataplaneOverview, b: DataplaneOverview): boolean {
  return trace(a) === trace(b);
}

/** How long Kuma has shown it offline, by the control plane's clock; `undefined` if it does not. */
export function offlineMs(stored: DataplaneOverview, clockMs: number | undefined): number | undefined {
  const ended = stored.subscriptions.map(({ disconnectTime }) => Date.parse(disconnectTime ?? ''));
  if (clockMs === undefined || ended.length === 0 || ended.some(Number.isNaN)) return undefined;
  return Math.max(0, clockMs - Math.max(...ended));
}

function trace({ creationTime, labels, subscriptions }: DataplaneOverview): string {
  return JSON.stringify([
    creationTime,
    labels[INCARNATION_LABEL],
    subscriptions.map(({ id, connectTime, disconnectTime }) => [id, connectTime, disconnectTime]),
  ]);
}

function judgePlace({ mode }: Surroundings): Judgement | undefined {
  if (mode === undefined || mode === 'zone' || mode === 'standalone') return undefined;
  return wait('not-zone-cp', `this is a ${mode} control plane`, RELOOK_MS);
}

function judgeOwner({ cause, record, stored }: DeletionCase): Judgement | undefined {
  const { incarnation, address, deletable } = record;
  const ownership = judgeOwnership(
    { incarnation: incarnation === '' ? undefined : incarnation, address },
    stored,
  );
  if (!ownership.ours) return refuse('foreign-incarnation', ownership.reason);
  if (cause === 'announced') return undefined;
  const managed = cause === 'fallback' ? deletable : isLifecycleManaged(stored);
  return managed
    ? undefined
    : refuse('not-lifecycle-managed', 'neither its control plane nor an agent put it');
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

/**
 * Its own agent said that it leaves, so its own stream proves nothing. Only once the agent is gone may somebody else
 * have come under this name without telling us: a stream that began after the announcement may be theirs.
 */
function judgeAnnounced(given: DeletionCase): Judgement | undefined {
  if (given.missingMs === undefined) return undefined;
  const since = given.stored.subscriptions.filter((each) => !beganBefore(each, given));
  return judgeStreams(since, given) ?? judgeGhosts(since, given, given.graceMs);
}

function beganBefore({ connectTime }: Subscription, { clockMs, pendingMs }: DeletionCase): boolean {
  const began = Date.parse(connectTime ?? '');
  return clockMs !== undefined && clockMs - began > pendingMs + CLOCK_SLACK_MS;
}

/** Nobody said anything: the agent is silent, or there never was one. */
function judgeSuspected(given: DeletionCase): Judgement | undefined {
  const { cause, missingMs, unchangedMs, graceMs, stored, around } = given;
  const neededMs = cause === 'fallback' ? graceMs : graceMs + RECONNECT_BACKOFF_MS;
  if (cause === 'fallback' && missingMs === undefined) {
    return wait('subscription-online', 'its agent is attached', RELOOK_MS);
  }
  const streams = judgeStreams(stored.subscriptions, given);
  if (streams !== undefined) return streams;
  if (around.steadyMs < neededMs) {
    return wait(
      'probation',
      'the control plane or the companion is only just up',
      neededMs - around.steadyMs,
    );
  }
  const silentMs = Math.min(unchangedMs, missingMs ?? unchangedMs);
  if (silentMs < neededMs) {
    return wait(
      'evidence-too-young',
      `silent for ${seconds(silentMs)} of ${seconds(neededMs)}`,
      neededMs - silentMs,
    );
  }
  return judgeInsight(given);
}

function judgeInsight(given: DeletionCase): Judgement | undefined {
  const { cause, stored, clockMs, graceMs, sweepOfflineAfterMs } = given;
  if (stored.subscriptions.length === 0) {
    return cause === 'fallback' && isUnseen(stored)
      ? undefined
      : wait('unknown-insight', 'no stream of it was ever recorded', RELOOK_MS);
  }
  if (stored.subscriptions.some(isOnline)) return undefined;
  const neededMs = cause === 'fallback' ? graceMs : sweepOfflineAfterMs;
  const offline = offlineMs(stored, clockMs);
  if (offline === undefined)
    return wait('unknown-insight', 'it is not said since when it is offline', RELOOK_MS);
  if (offline >= neededMs) return undefined;
  return wait(
    'evidence-too-young',
    `offline for ${seconds(offline)} of ${seconds(neededMs)}`,
    neededMs - offline,
  );
}

/** Life: a stream at an instance that answers, or one of which it cannot be told. */
function judgeStreams(
  subscriptions: readonly Subscription[],
  { around }: DeletionCase,
): Judgement | undefined {
  const online = subscriptions.filter(isOnline);
  const living = online.find(
    ({ controlPlaneInstanceId: id }) => id === undefined || around.liveInstances.has(id),
  );
  if (living !== undefined) {
    return wait(
      'subscription-online',
      `connected to ${living.controlPlaneInstanceId ?? 'some instance'}`,
      RELOOK_MS,
    );
  }
  if (online.length === 0 || (around.silentControlPlanes === 0 && around.liveInstances.size > 0))
    return undefined;
  return wait(
    'subscription-online',
    'connected to an instance that may live: not every control plane answers',
    RELOOK_MS,
  );
}

/** A stream at an instance that is gone counts as ended only after whoever held it had the time to connect again. */
function judgeGhosts(
  subscriptions: readonly Subscription[],
  { around }: DeletionCase,
  neededMs: number,
): Judgement | undefined {
  if (!subscriptions.some(isOnline) || around.steadyMs >= neededMs) return undefined;
  return wait('probation', 'the control plane or the companion is only just up', neededMs - around.steadyMs);
}

/** Whether no peer is told of it: an agent put it and never made it ready. */
function isUnseen({ labels, networking }: DataplaneOverview): boolean {
  const ports = [...(networking?.inbound ?? []), ...(networking?.listeners ?? [])];
  return (
    labels[INCARNATION_LABEL] !== undefined &&
    ports.length > 0 &&
    ports.every(({ state }) => state === 'NotReady')
  );
}

function wait(guard: Guard, reason: string, retryAfterMs: number): Judgement {
  return { verdict: 'wait', guard, reason, retryAfterMs };
}

function refuse(guard: Guard, reason: string): Judgement {
  return { verdict: 'refuse', guard, reason };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
