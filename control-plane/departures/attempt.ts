import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { describeKey, INCARNATION_LABEL, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { portStates } from '../../kuma/port-states.ts';
import type { BrakeRuling } from '../evidence/brake.pure.ts';
import {
  decide,
  type Decision,
  type Evidence,
  type ObjectEvidence,
  type StreamEvidence,
} from '../evidence/decision.pure.ts';
import { sameLook, wasLeftOpen, type Guard } from '../evidence/guards.pure.ts';
import { CAUSES, type Cause, type DataplaneRecord, type SideliningRecord } from '../records.pure.ts';
import { mayStillLand, withoutSidelining } from '../witness/sidelining.pure.ts';
import { retryDelayMs } from './retry.pure.ts';
import { crashPoint } from './crash-points.ts';
import type { LookLog } from '../evidence/look-log.ts';
import type { AttemptResult, ControlPlanes, Fence, OverviewLook, Predecessors } from '../ports.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';

export interface DeletionAttemptDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly controlPlanes: ControlPlanes;
  readonly watch: ZoneWatch;
  readonly looks: LookLog;
  /** Whether the companion has sidelined it. */
  readonly sidelining: (key: DataplaneKey) => Promise<SideliningRecord | undefined>;
  /** Whether the agent's stream is open at this replica, whatever the record says. */
  readonly isAttached: (record: DataplaneRecord) => boolean;
  /** Why the store may not know of an agent of this name that lives; `undefined` if there is no such reason. */
  readonly doubt: (key: DataplaneKey) => Doubt | undefined;
  /** Whether the agent's stream seems to be open, but may have ended without being noticed. */
  readonly isUnproven: (record: DataplaneRecord) => boolean;
  /** Called when the stream is open here although the record says that it is lost. */
  readonly onContradiction: (record: DataplaneRecord) => void;
  /** Whether the record's Envoy, where it should listen, refuses this process. Never throws. */
  readonly isRefused: (record: DataplaneRecord) => Promise<boolean>;
  readonly predecessors: Predecessors;
  /** The brake. It is asked last, only for departures without a request, and for one at a time. */
  readonly brake: (stored: DataplaneOverview) => Promise<BrakeRuling>;
  readonly graceMs: number;
  readonly sweepOfflineAfterMs: number;
}

export interface Doubt {
  readonly guard: Guard;
  readonly reason: string;
  /** How long the doubt lasts, ms. */
  readonly afterMs: number;
}

/** How long an attempt waits for one answer of a control plane; less than the lock lasts. */
const REQUEST_BUDGET_MS = 2_000;
const ATTACHED_RELOOK_MS = 5_000;
const CROWDED_RELOOK_MS = 5_000;
const EARLY_LOOKS_PER_SECOND = 50;
const CHANGED_RELOOK_MS = 500;
const BLIND_RELOOK_MS = 1_000;

/** Judges one pending departure and deletes its object if no guard holds it. */
export class DeletionAttempt {
  readonly #deps: DeletionAttemptDeps;
  #early = 0;
  #earlySinceMs = Number.NEGATIVE_INFINITY;

  constructor(deps: DeletionAttemptDeps) {
    this.#deps = deps;
  }

  /** @throws `FENCE_LOST`, and the store's errors; every failure of a control plane is a result */
  async run(record: DataplaneRecord, fence: Fence): Promise<AttemptResult> {
    try {
      return await this.#judge(record, fence);
    } catch (error) {
      if (!(error instanceof OperationalError) || isOfStore(error)) throw error;
      return {
        kind: 'later',
        afterMs: retryDelayMs(record.attempts, this.#deps.random, error),
        reason: describeError(error),
      };
    }
  }

  async #judge(record: DataplaneRecord, fence: Fence): Promise<AttemptResult> {
    if (record.state === 'lost' && this.#deps.isAttached(record)) {
      this.#deps.onContradiction(record);
      return {
        kind: 'later',
        afterMs: ATTACHED_RELOOK_MS,
        guard: 'subscription-online',
        reason: 'its agent is attached',
      };
    }
    const look = await this.#overview(record);
    this.#deps.watch.clock.note(look.clockMs);
    crashPoint('attempt.read');
    const decision = decide(await this.#evidence(record, look, fence.nowMs));
    switch (decision.verdict) {
      case 'gone':
        return (await this.#untilNoWriteLands(record, fence)) ?? asGone(decision);
      case 'stay':
        return asRefused(decision);
      case 'wait':
        return {
          kind: 'later',
          afterMs: this.#relookMs(decision),
          guard: decision.guard,
          reason: decision.reason,
        };
      case 'put back':
        throw new TypeError('A departure puts nothing back');
      case 'go':
        return this.#go(record, look.overview, fence);
    }
  }

  /** Limits the looks at the control plane after the loss of many agents. */
  #relookMs({ guard, retryAfterMs }: Extract<Decision, { readonly verdict: 'wait' }>): number {
    if (guard !== 'subscription-online' || retryAfterMs >= CROWDED_RELOOK_MS) return retryAfterMs;
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#earlySinceMs >= 1_000) {
      this.#earlySinceMs = nowMs;
      this.#early = 0;
    }
    this.#early += 1;
    return this.#early > EARLY_LOOKS_PER_SECOND ? CROWDED_RELOOK_MS : retryAfterMs;
  }

  async #go(
    record: DataplaneRecord,
    stored: DataplaneOverview | undefined,
    fence: Fence,
  ): Promise<AttemptResult> {
    if (stored === undefined) throw new TypeError('What is not there cannot go');
    if (record.state === 'leaving') return this.#delete(record, stored, fence);
    const doubt = this.#doubt(record);
    if (doubt !== undefined)
      return { kind: 'later', ...doubt, afterMs: Math.min(doubt.afterMs, ATTACHED_RELOOK_MS) };
    const waits = await this.#untilNoWriteLands(record, fence);
    if (waits !== undefined) return waits;
    await fence.alone('brake');
    const ruling = await this.#deps.brake(stored);
    if (!ruling.held) return this.#deleteIfUnchanged(record, stored, fence);
    return { kind: 'later', afterMs: ruling.retryAfterMs, guard: 'brake', reason: ruling.reason };
  }

  async #evidence(record: DataplaneRecord, look: OverviewLook, nowMs: number): Promise<Evidence> {
    const { watch, looks, isUnproven, graceMs, sweepOfflineAfterMs } = this.#deps;
    const { overview: stored, clockMs } = look;
    return {
      record,
      stream: streamOf(isUnproven(record) ? { ...record, lostAtMs: nowMs } : record, nowMs),
      object:
        stored === undefined ? NOTHING : { kind: 'present', stored, unchangedMs: looks.note(stored, record) },
      envoy: await this.#envoy(record, stored),
      pendingMs: Math.max(looks.pendingMs(record), nowMs - record.sinceMs),
      predecessors: stored === undefined ? NONE : await this.#predecessors(record, stored),
      clock: { nowMs: clockMs, steadyMs: watch.clock.steadyMs },
      around: watch.surroundings,
      graceMs,
      sweepOfflineAfterMs,
    };
  }

  /** Asked only where it counts: after a crash of the control plane. */
  async #envoy(record: DataplaneRecord, stored: DataplaneOverview | undefined): Promise<Evidence['envoy']> {
    const { watch, isRefused } = this.#deps;
    if (record.state !== 'lost' || stored === undefined) return 'unknown';
    if (!wasLeftOpen(stored, watch.surroundings)) return 'unknown';
    return (await isRefused(record)) ? 'refused' : 'unknown';
  }

  /** Read only if the object is not clearly the leaving agent's own. */
  async #predecessors(record: DataplaneRecord, stored: DataplaneOverview): Promise<ReadonlySet<string>> {
    const incarnation = stored.labels[INCARNATION_LABEL];
    if (incarnation === undefined || incarnation === record.incarnation) return NONE;
    return this.#deps.predecessors(record.key, record.state === 'swept' ? ['requested'] : ANY_CAUSE);
  }

  async #deleteIfUnchanged(
    record: DataplaneRecord,
    seen: DataplaneOverview,
    fence: Fence,
  ): Promise<AttemptResult> {
    await fence.keepBody(JSON.stringify(seen.resource));
    crashPoint('attempt.body-kept');
    if (await this.#hasRestarted()) {
      const reason = 'a control plane has just started';
      return { kind: 'later', afterMs: CHANGED_RELOOK_MS, guard: 'probation', reason };
    }
    const { overview: stored } = await this.#overview(record);
    if (stored !== undefined && !sameLook(seen, stored)) {
      this.#deps.looks.note(stored, record);
      return {
        kind: 'later',
        afterMs: CHANGED_RELOOK_MS,
        guard: 'changed-since-read',
        reason: 'its streams or its creation time changed while it was judged',
      };
    }
    return this.#send(record, fence);
  }

  /** Since the watch looked last: Envoys that connected to the instance before connect again only now. */
  async #hasRestarted(): Promise<boolean> {
    const { watch } = this.#deps;
    const { steadyMs } = watch;
    await watch.lookNow();
    return watch.steadyMs < steadyMs;
  }

  async #delete(record: DataplaneRecord, stored: DataplaneOverview, fence: Fence): Promise<AttemptResult> {
    if (fence.isBlind === true && stored.labels[INCARNATION_LABEL] !== record.incarnation) {
      const reason = 'this object may belong to another run, so it stays';
      return { kind: 'later', afterMs: BLIND_RELOOK_MS, reason };
    }
    const body = JSON.stringify(stored.resource);
    // The agent's resource is on disk already, which is enough if this process dies at this moment.
    const isCovered = record.resource !== undefined;
    if (!isCovered) await fence.keepBody(body);
    crashPoint('attempt.body-kept');
    const result = await this.#send(record, fence);
    return isCovered && result.kind === 'ended' && result.outcome === 'deleted'
      ? { ...result, body }
      : result;
  }

  async #send(record: DataplaneRecord, fence: Fence): Promise<AttemptResult> {
    const { clock, controlPlanes } = this.#deps;
    const action = `delete dataplane ${describeKey(record.key)}`;
    const outcome = await withDeadline({ clock, action, budgetMs: REQUEST_BUDGET_MS }, ({ signal }) =>
      controlPlanes.delete(
        record.key,
        () => {
          crashPoint('attempt.sending');
          fence.assertHeld();
          const doubt = this.#doubt(record);
          if (doubt !== undefined)
            throw new OperationalError('CANCELLED', `Cancelled to ${action}: ${doubt.reason}`);
        },
        signal,
      ),
    );
    crashPoint('attempt.deleted');
    return {
      kind: 'ended',
      outcome,
      reason:
        outcome === 'deleted' ? REASONS[causeOf(record)] : 'the control plane has no such object any more',
    };
  }

  #doubt({ state, key }: DataplaneRecord): Doubt | undefined {
    return state === 'leaving' ? undefined : this.#deps.doubt(key);
  }

  /** Once the object is gone, a late write would create it anew. A departure that its agent requested does not wait. */
  async #untilNoWriteLands(
    { key, state }: DataplaneRecord,
    { nowMs }: Fence,
  ): Promise<AttemptResult | undefined> {
    const sidelining = state === 'leaving' ? undefined : await this.#deps.sidelining(key);
    if (sidelining === undefined || !mayStillLand(sidelining, nowMs)) return undefined;
    const reason = 'the control plane may still carry out a sidelining of it';
    return { kind: 'later', guard: 'evidence-too-young', reason, afterMs: ATTACHED_RELOOK_MS };
  }

  /** The object without its sidelining, which neither hastens nor delays a deletion. */
  async #overview({ key }: DataplaneRecord): Promise<OverviewLook> {
    const { clock, controlPlanes, sidelining } = this.#deps;
    const action = `look at dataplane ${describeKey(key)}`;
    const look = await withDeadline({ clock, action, budgetMs: REQUEST_BUDGET_MS }, ({ signal }) =>
      controlPlanes.overview(key, signal),
    );
    const { overview } = look;
    const isOut = overview !== undefined && Object.values(portStates(overview.resource)).includes('NotReady');
    return isOut ? { ...look, overview: withoutSidelining(overview, await sidelining(key)) } : look;
  }
}

const NONE: ReadonlySet<string> = new Set();
const ANY_CAUSE: readonly Cause[] = ['requested', 'fallback', 'sweep'];
const NOTHING: ObjectEvidence = {
  kind: 'missing',
  looks: 1,
  spanMs: 0,
  lastSeen: undefined,
  brought: undefined,
};

function asGone({ reason }: Extract<Decision, { readonly verdict: 'gone' }>): AttemptResult {
  return { kind: 'ended', outcome: 'already gone', reason };
}

function asRefused({ guard, reason }: Extract<Decision, { readonly verdict: 'stay' }>): AttemptResult {
  return { kind: 'ended', outcome: 'refused', reason, ...(guard === undefined ? {} : { guard }) };
}

function streamOf({ state, lostAtMs, unseen, serving }: DataplaneRecord, nowMs: number): StreamEvidence {
  if (state === 'swept') return { kind: 'none' };
  if (lostAtMs === undefined) return { kind: 'open', serving: serving === true, heardSince: false };
  return { kind: unseen === true ? 'unseen' : 'ended', missingMs: Math.max(0, nowMs - lostAtMs) };
}

const REASONS = {
  requested: 'its agent said that it leaves',
  fallback: 'its agent and its streams were silent for the grace',
  sweep: 'Kuma showed it offline, and no agent was attached',
} as const;

function causeOf({ state }: DataplaneRecord): Cause {
  if (state === 'attached') throw new TypeError('An attached dataplane is not to be deleted');
  return CAUSES[state];
}

function isOfStore({ code }: OperationalError): boolean {
  return code === 'FENCE_LOST' || code === 'STORE_UNAVAILABLE' || code === 'STORE_BUSY';
}
