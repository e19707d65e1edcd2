import { pause, unlessAborted, type Clock } from '../../kernel/clock.ts';
import { hasCode, OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { DeletionAttempt } from './attempt.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import { crashPoint } from './crash-points.ts';
import { standingOf, type Departures, type Standing } from './departures.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Introduction, Fence, Store } from '../ports.ts';

export interface RequestedDeparturesDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly replica: string;
  readonly agents: AttachedAgents;
  readonly departures: Departures;
  readonly attempt: DeletionAttempt;
}

/** The state of a requested departure. Not `durable`: the store is away, and the request is in memory only. */
export type RequestedStanding = (Standing & { readonly durable: boolean }) | { readonly kind: 'superseded' };

interface Unrecorded {
  readonly introduction: Introduction;
  /** When it was requested. The monotonic clock stands still while a machine is suspended, the wall clock does not. */
  readonly atMs: number;
  readonly atWallMs: number;
  /** Whether another incarnation of the name was lost, and may return. */
  isContested: boolean;
}

/** The replica that recorded a departure tries first. Other replicas take over after this time. */
const HEAD_START_MS = 2_000;
const RETRY_MS = 1_000;
/** An attempt without the store has no lock to lose: a short time limit is enough. */
const UNRECORDED_HOLD_MS = 2_500;

/** Departures that agents request: recorded first, then carried out even if the agent has hung up. */
export class RequestedDepartures {
  readonly #deps: RequestedDeparturesDeps;
  readonly #unrecorded = new Map<string, Unrecorded>();
  #added = Promise.withResolvers<void>();

  constructor(deps: RequestedDeparturesDeps) {
    this.#deps = deps;
  }

  /** Departures that are in memory only. */
  get unrecorded(): number {
    return this.#unrecorded.size;
  }

  /**
   * Records that `introduction` leaves and waits for the end until `byMs` (monotonic).
   *
   * @param again its object was created again after it had left
   */
  async request(introduction: Introduction, byMs: number, again = false): Promise<RequestedStanding> {
    const { store, replica, departures, events } = this.#deps;
    this.#deps.agents.markLeaving(introduction);
    try {
      const leave = await store.leave(introduction, { replica, headStartMs: HEAD_START_MS, again });
      crashPoint('leave.recorded');
      if (leave.kind === 'superseded') return leave;
      if (leave.kind === 'contested') return await this.#requestUnrecorded(introduction, true);
      if (leave.kind === 'departed') return { ...standingOf(leave.departure), durable: true };
      const { key, incarnation } = introduction;
      events.leaving({ key, incarnation, epoch: leave.epoch });
      const standing = await departures.waitForEnd({ key, incarnation, epoch: leave.epoch }, byMs);
      return { ...standing, durable: true };
    } catch (error) {
      if (!hasCode(error, 'STORE_UNAVAILABLE')) throw error;
      return this.#requestUnrecorded(introduction, false);
    }
  }

  /**
   * Records the departures in memory as soon as the store accepts them, and keeps deleting meanwhile, until `signal`
   * aborts.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, store, replica, departures, events } = this.#deps;
    while (!signal.aborted) {
      this.#added = Promise.withResolvers();
      if (this.#unrecorded.size === 0) await unlessAborted(signal, this.#added.promise);
      await pause(clock, RETRY_MS, signal);
      for (const [name, unrecorded] of this.#unrecorded) {
        try {
          const agoMs = this.#agoMs(unrecorded);
          const leave = await store.leave(unrecorded.introduction, { replica, headStartMs: 0, agoMs });
          if (leave.kind !== 'contested') {
            this.#unrecorded.delete(name);
            departures.nudge();
            continue;
          }
          unrecorded.isContested = true;
        } catch (error) {
          if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
        }
        const standing = await this.#tryUnrecorded(unrecorded);
        if (standing.kind === 'ended') this.#unrecorded.delete(name);
      }
    }
  }

  async #requestUnrecorded(introduction: Introduction, isContested: boolean): Promise<RequestedStanding> {
    this.#deps.events.leaving({ key: introduction.key, incarnation: introduction.incarnation });
    const { clock } = this.#deps;
    const unrecorded = { introduction, atMs: clock.monotonicMs(), atWallMs: clock.wallMs(), isContested };
    const standing = await this.#tryUnrecorded(unrecorded);
    if (standing.kind === 'pending') {
      this.#unrecorded.set(describeKey(introduction.key), unrecorded);
      this.#added.resolve();
    }
    return { ...standing, durable: false };
  }

  /**
   * Without the store, the companion acts only on the agent's own request, and only while no other agent is attached
   * here. It reads the object's marks right before, as an agent without a companion does.
   */
  async #tryUnrecorded(unrecorded: Unrecorded): Promise<Standing> {
    const { introduction, isContested } = unrecorded;
    const { clock, attempt, agents, events, store } = this.#deps;
    const current = agents.find(introduction.key);
    if (current !== undefined && current.introduction.incarnation !== introduction.incarnation) {
      return {
        kind: 'ended',
        outcome: 'superseded',
        guard: 'newer-epoch',
        reason: 'a newer incarnation is attached',
      };
    }
    const nowMs = clock.monotonicMs();
    const sinceMs = nowMs - this.#agoMs(unrecorded);
    const record = asRecord(introduction, sinceMs, current === undefined ? nowMs : undefined);
    // A successor may have attached at another replica, and a lost one may own an object without a label.
    const isBlind = isContested || store.kind === 'postgres' ? ({ isBlind: true } as const) : {};
    const result = await attempt.run(record, { ...unrecordedFence(clock, nowMs), ...isBlind });
    events.attempted(record, result);
    return result.kind === 'ended' ? result : { kind: 'pending', guard: result.guard, reason: result.reason };
  }

  /** An overestimate is safe: later events may be a successor's. */
  #agoMs({ atMs, atWallMs }: Unrecorded): number {
    const { clock } = this.#deps;
    return Math.ceil(Math.max(clock.monotonicMs() - atMs, clock.wallMs() - atWallMs));
  }
}

/** Times are monotonic here: they are only compared with each other. */
function asRecord(
  introduction: Introduction,
  sinceMs: number,
  lostAtMs: number | undefined,
): DataplaneRecord {
  return {
    ...introduction,
    epoch: 0,
    state: 'leaving',
    sinceMs,
    lostAtMs,
    replica: undefined,
    dueAtMs: sinceMs,
    attempts: 0,
    guard: undefined,
    reason: undefined,
  };
}

function unrecordedFence(clock: Clock, nowMs: number): Fence {
  const heldUntilMs = nowMs + UNRECORDED_HOLD_MS;
  return {
    nowMs,
    assertHeld() {
      if (clock.monotonicMs() < heldUntilMs) return;
      throw new OperationalError(
        'FENCE_LOST',
        'Cancelled a deletion without the store: it did not begin in time',
      );
    },
    // Without the store the body cannot be kept; the agent brought one like it.
    keepBody: () => Promise.resolve(),
    alone: () => Promise.resolve(),
  };
}
