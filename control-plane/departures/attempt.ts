import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { describeKey, INCARNATION_LABEL, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import type { BrakeRuling } from '../evidence/brake.pure.ts';
import { judgeDeletion, sameLook, type DeletionCase } from '../evidence/guards.pure.ts';
import { CAUSES, type DataplaneRecord } from '../records.pure.ts';
import { retryDelayMs } from './retry.pure.ts';
import { crashPoint } from './crash-points.ts';
import type { LookLog } from '../evidence/look-log.ts';
import type { AttemptResult, ControlPlanes, Fence, OverviewLook } from '../ports.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';

export interface DeletionAttemptDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly controlPlanes: ControlPlanes;
  readonly watch: ZoneWatch;
  readonly looks: LookLog;
  /** Whether the agent's stream is open at this replica, whatever the record says. */
  readonly isAttached: (record: DataplaneRecord) => boolean;
  /** The stream is open here, and the record says that it is lost. */
  readonly onContradiction: (record: DataplaneRecord) => void;
  /** Incarnations of this name that are known to be over. */
  readonly predecessors: (key: DataplaneKey) => Promise<ReadonlySet<string>>;
  /** Asked last, and only for what nobody announced, while no other such deletion is under way. */
  readonly brake: (stored: DataplaneOverview) => Promise<BrakeRuling>;
  readonly graceMs: number;
  readonly sweepOfflineAfterMs: number;
}

/** One attempt may wait so long for one answer of a control plane; less than the fence holds. */
const REQUEST_BUDGET_MS = 2_000;
const ATTACHED_RELOOK_MS = 5_000;
const CHANGED_RELOOK_MS = 500;
const BLIND_RELOOK_MS = 1_000;

/** Judges one pending departure and deletes its object if no guard holds it. */
export class DeletionAttempt {
  readonly #deps: DeletionAttemptDeps;

  constructor(deps: DeletionAttemptDeps) {
    this.#deps = deps;
  }

  /**
   * @throws `FENCE_LOST`, and what the store throws; everything that a control plane can do wrong is a result
   */
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
    const { nowMs } = fence;
    if (record.state === 'lost' && this.#deps.isAttached(record)) {
      this.#deps.onContradiction(record);
      return {
        kind: 'later',
        afterMs: ATTACHED_RELOOK_MS,
        guard: 'subscription-online',
        reason: 'its agent is attached',
      };
    }
    const { overview: stored, clockMs } = await this.#overview(record.key);
    this.#deps.watch.clock.note(clockMs);
    crashPoint('attempt.read');
    // A sweep has no agent that could be missing.
    const lostAtMs = record.state === 'swept' ? undefined : record.lostAtMs;
    const missingMs = lostAtMs === undefined ? undefined : Math.max(0, nowMs - lostAtMs);
    if (stored === undefined) return this.#judgeAbsence(missingMs);
    const { watch, looks, graceMs, sweepOfflineAfterMs } = this.#deps;
    const given: DeletionCase = {
      cause: causeOf(record),
      record,
      predecessors: await this.#predecessors(record, stored),
      missingMs,
      unseen: record.unseen,
      pendingMs: Math.max(looks.pendingMs(record), nowMs - record.sinceMs),
      stored,
      unchangedMs: looks.note(stored, record),
      clockMs,
      clockSteadyMs: watch.clock.steadyMs,
      around: watch.surroundings,
      graceMs,
      sweepOfflineAfterMs,
    };
    const judgement = judgeDeletion(given);
    if (judgement.verdict === 'refuse') {
      return { kind: 'ended', outcome: 'refused', guard: judgement.guard, reason: judgement.reason };
    }
    if (judgement.verdict === 'wait') {
      const { guard, reason, retryAfterMs } = judgement;
      return { kind: 'later', afterMs: retryAfterMs, guard, reason };
    }
    if (given.cause === 'announced') return this.#delete(record, stored, fence);
    await fence.alone('brake');
    const ruling = await this.#deps.brake(stored);
    if (!ruling.held) return this.#deleteIfUnchanged(record, stored, fence);
    return { kind: 'later', afterMs: ruling.retryAfterMs, guard: 'brake', reason: ruling.reason };
  }

  /** Only asked for where the object is not plainly the leaver's own. */
  async #predecessors(record: DataplaneRecord, stored: DataplaneOverview): Promise<ReadonlySet<string>> {
    const incarnation = stored.labels[INCARNATION_LABEL];
    if (incarnation === undefined || incarnation === record.incarnation) return NONE;
    return this.#deps.predecessors(record.key);
  }

  /** Right after a control plane came up, an object that is missing may only be missing yet. */
  #judgeAbsence(missingMs: number | undefined): AttemptResult {
    const { graceMs, watch } = this.#deps;
    const { steadyMs } = watch.surroundings;
    if (missingMs === undefined || steadyMs >= graceMs) {
      return { kind: 'ended', outcome: 'already gone', reason: 'the control plane has no such object' };
    }
    return {
      kind: 'later',
      afterMs: graceMs - steadyMs,
      guard: 'probation',
      reason: 'the object is not there, but the control plane or the companion is only just up',
    };
  }

  async #deleteIfUnchanged(
    record: DataplaneRecord,
    seen: DataplaneOverview,
    fence: Fence,
  ): Promise<AttemptResult> {
    await fence.keepBody(JSON.stringify(seen.resource));
    crashPoint('attempt.body-kept');
    const { overview: stored } = await this.#overview(record.key);
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

  async #delete(record: DataplaneRecord, stored: DataplaneOverview, fence: Fence): Promise<AttemptResult> {
    if (fence.isBlind === true && stored.labels[INCARNATION_LABEL] !== record.incarnation) {
      const reason = 'the store is away, and nothing on the object says that it is no successor’s';
      return { kind: 'later', afterMs: BLIND_RELOOK_MS, reason };
    }
    const body = JSON.stringify(stored.resource);
    // Where its agent brought the resource, that is on disk already and is enough for the moment in which we might die.
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

  #overview(key: DataplaneKey): Promise<OverviewLook> {
    const { clock, controlPlanes } = this.#deps;
    const action = `look at dataplane ${describeKey(key)}`;
    return withDeadline({ clock, action, budgetMs: REQUEST_BUDGET_MS }, ({ signal }) =>
      controlPlanes.overview(key, signal),
    );
  }
}

const NONE: ReadonlySet<string> = new Set();

const REASONS = {
  announced: 'its agent said that it leaves',
  fallback: 'its agent and its streams had been silent for the grace',
  sweep: 'Kuma showed it offline, and nobody looked after it',
} as const;

function causeOf({ state }: DataplaneRecord): DeletionCase['cause'] {
  if (state === 'attached') throw new TypeError('An attached dataplane is not to be deleted');
  return CAUSES[state];
}

function isOfStore({ code }: OperationalError): boolean {
  return code === 'FENCE_LOST' || code === 'STORE_UNAVAILABLE' || code === 'STORE_BUSY';
}
