import type { DataplaneResource } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { CAUSES, type DataplaneRecord } from '../records.pure.ts';
import { judgeDeletion, type Guard, type Judgement, type Surroundings } from './guards.pure.ts';
import { judgeMissing } from './heal.pure.ts';

/**
 * The evidence about the stream of the record's agent.
 *
 * - `open`: here or at another replica, as the record says.
 * - `ended`: a replica saw it end, so long ago by the store's clock.
 * - `unseen`: the replica that held it fell silent, or was restarted: no replica saw it end.
 * - `none`: no agent was ever heard of.
 */
export type StreamEvidence =
  | {
      readonly kind: 'open';
      /** Whether its Envoy serves, as its agent last said. */
      readonly serving: boolean;
      /** Whether its agent has sent anything since the object was found missing. */
      readonly heardSince: boolean;
    }
  | { readonly kind: 'ended' | 'unseen'; readonly missingMs: number }
  | { readonly kind: 'none' };

/**
 * The control plane's view of the object, with its insight.
 *
 * - `missing`: it is not there, or an incarnation that has ended left it behind.
 * - `present`: it is there.
 */
export type ObjectEvidence =
  | {
      readonly kind: 'missing';
      /** The number of looks in a row that found no object, and the time from the first to the last. */
      readonly looks: number;
      readonly spanMs: number;
      /** The body that this process saw last. */
      readonly lastSeen: DataplaneResource | undefined;
      /** The rendered Dataplane, as its agent brought it. */
      readonly brought: DataplaneResource | undefined;
    }
  | {
      readonly kind: 'present';
      readonly stored: DataplaneOverview;
      /** How long this process has seen the object and the record unchanged, without a break of its own watch. */
      readonly unchangedMs: number;
    };

/** The control plane's own clock when it answered. */
export interface ClockEvidence {
  /** `undefined` if unknown. */
  readonly nowMs: number | undefined;
  /** The time since this process last saw that clock being set ahead. */
  readonly steadyMs: number;
}

/** All evidence about one object, with its age and source. Durations are monotonic unless stated. */
export interface Evidence {
  readonly record: Pick<
    DataplaneRecord,
    'state' | 'incarnation' | 'owner' | 'deletable' | 'address' | 'phase'
  >;
  readonly stream: StreamEvidence;
  readonly object: ObjectEvidence;
  /** Whether its inbounds refused this process just now; `unknown` as well where it did not ask. */
  readonly envoy: 'refused' | 'unknown';
  /** The age of the departure, by the store's clock or this process, whichever is longer. */
  readonly pendingMs: number;
  /** Incarnations of this name that have ended. */
  readonly predecessors: ReadonlySet<string>;
  readonly clock: ClockEvidence;
  /** The zone and its control planes. */
  readonly around: Surroundings;
  readonly graceMs: number;
  /** How long Kuma must show it offline before a sweep. */
  readonly sweepOfflineAfterMs: number;
}

/**
 * - `go`: it may be deleted now. The brake is asked last, elsewhere.
 * - `gone`: it is not there, and nothing is left to do.
 * - `put back`: it may be put now, while the name is locked and if a read of this one object finds nothing either.
 * - `stay`: it stays, and its departure, if there is one, is over.
 * - `wait`: it stays, and is judged again after `retryAfterMs`.
 */
export type Decision =
  | { readonly verdict: 'go' }
  | { readonly verdict: 'gone'; readonly reason: string }
  | { readonly verdict: 'put back'; readonly resource: DataplaneResource; readonly reason: string }
  | { readonly verdict: 'stay'; readonly guard: Guard | undefined; readonly reason: string }
  | {
      readonly verdict: 'wait';
      readonly guard: Guard;
      readonly reason: string;
      readonly retryAfterMs: number;
    };

/** Decides what happens to an object, in one place. docs/concepts/evidence.md lists every case. */
export function decide(evidence: Evidence): Decision {
  const { record, object } = evidence;
  if (record.state === 'attached') {
    return object.kind === 'missing'
      ? decideMissing(evidence, object)
      : { verdict: 'stay', guard: undefined, reason: 'its agent is attached' };
  }
  if (record.state === 'unseen') return NOT_BACK_YET;
  if (object.kind === 'missing') return decideAbsence(evidence);
  return asDecision(judgePresent(evidence, record.state, object));
}

/** After a restart of the companion, an agent that has not had the time to return is not lost. */
const NOT_BACK_YET: Decision = {
  verdict: 'wait',
  guard: 'evidence-too-young',
  reason: 'its agent may still attach again',
  retryAfterMs: 5_000,
};

type Missing = Extract<ObjectEvidence, { readonly kind: 'missing' }>;
type Present = Extract<ObjectEvidence, { readonly kind: 'present' }>;

function decideMissing({ record, stream, around }: Evidence, object: Missing): Decision {
  const { looks, spanMs, lastSeen, brought } = object;
  const isOpen = stream.kind === 'open';
  const healing = judgeMissing({
    record: { ...record, lostAtMs: isOpen ? undefined : 0 },
    serving: isOpen && stream.serving,
    absence: { looks, spanMs },
    provenAlive: isOpen && stream.heardSince,
    around,
    lastSeen,
    brought,
  });
  return healing.verdict === 'put'
    ? { ...healing, verdict: 'put back' }
    : { verdict: 'stay', guard: undefined, reason: healing.reason };
}

/** Right after the start of a control plane, an object may be missing for a moment only. */
function decideAbsence({ stream, around: { steadyMs }, graceMs }: Evidence): Decision {
  const isAgentThere = stream.kind === 'open' || stream.kind === 'none';
  if (isAgentThere || steadyMs >= graceMs) {
    return { verdict: 'gone', reason: 'the control plane has no such object' };
  }
  return {
    verdict: 'wait',
    retryAfterMs: graceMs - steadyMs,
    guard: 'probation',
    reason: 'the object is not there, but the control plane or the companion has just started',
  };
}

function judgePresent(
  evidence: Evidence,
  state: keyof typeof CAUSES,
  { stored, unchangedMs }: Present,
): Judgement {
  const { record, stream, envoy, pendingMs, predecessors, clock, around } = evidence;
  const { graceMs, sweepOfflineAfterMs } = evidence;
  const isMissing = stream.kind === 'ended' || stream.kind === 'unseen';
  return judgeDeletion({
    cause: CAUSES[state],
    record,
    predecessors,
    missingMs: isMissing ? Math.max(0, stream.missingMs) : undefined,
    unseen: stream.kind === 'unseen',
    isRefused: envoy === 'refused',
    pendingMs,
    stored,
    unchangedMs,
    clockMs: clock.nowMs,
    clockSteadyMs: clock.steadyMs,
    around,
    graceMs,
    sweepOfflineAfterMs,
  });
}

function asDecision(judgement: Judgement): Decision {
  switch (judgement.verdict) {
    case 'delete':
      return { verdict: 'go' };
    case 'refuse':
      return { ...judgement, verdict: 'stay' };
    case 'wait':
      return judgement;
  }
}
