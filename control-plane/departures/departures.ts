import pLimit, { type LimitFunction } from 'p-limit';

import { pause, sleep, within, type Clock } from '../../kernel/clock.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { DeletionAttempt } from './attempt.ts';
import type { DepartureOutcome, DepartureRecord } from '../records.pure.ts';
import { crashPoint } from './crash-points.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { AttemptedDeletion, DueShare, Store } from '../ports.ts';

export interface DeparturesDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly attempt: DeletionAttempt;
  /**
   * The number of parallel deletions: with a waiting caller, and in addition the due ones. A thousand lost hosts must
   * not delay a leaving agent.
   */
  readonly concurrency: { readonly awaited: number; readonly due: number };
  /** `tookMs`: the age of the departure, by the store's clock and this process's. */
  readonly onAttempt?: (attempt: AttemptedDeletion, tookMs: number) => void;
  /** This replica's share of the work, while all replicas do theirs; `undefined`: none. */
  readonly share: () => DueShare | undefined;
}

/** The state of a departure: `pending` continues by itself. */
export type Standing =
  | {
      readonly kind: 'ended';
      readonly outcome: DepartureOutcome;
      readonly guard?: string | undefined;
      readonly reason: string;
    }
  | { readonly kind: 'pending'; readonly guard?: string | undefined; readonly reason: string };

/** The result of one look, and when to try again if the departure has not ended. */
type DepartureLook = Standing & { readonly afterMs?: number };

interface DepartureAt {
  readonly key: DataplaneKey;
  readonly epoch: number;
  readonly incarnation: string;
}

/** The poll interval: another replica may make a record due without a timer here. */
const POLL_MS = 1_000;
/** Longer waits end with a poll. */
const SOON_MS = 30_000;
/** The store's clock has whole milliseconds. */
const CLOCK_STEP_MS = 2;
/** How soon a waiting caller looks again. */
const WATCH_MS = 200;
const RECENT = 5;

/** Works off all due departures. They continue after their callers have hung up. */
export class Departures {
  readonly #deps: DeparturesDeps;
  readonly #limit: LimitFunction;
  #nudged = Promise.withResolvers<void>();
  #nudgeAtMs: number | undefined;
  #disarm: () => void = () => {};
  #isOver = false;

  constructor(deps: DeparturesDeps) {
    this.#deps = deps;
    this.#limit = pLimit(deps.concurrency.awaited);
  }

  /** Ends with `signal`, once all work in progress has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const working = new Set<Promise<void>>();
    // Counted before it begins: a store that answers at once would begin the next one within this one.
    let begun = 0;
    const work = (): void => {
      if (signal.aborted || begun >= this.#deps.concurrency.due) return;
      begun += 1;
      const one = this.#next(work).finally(() => {
        begun -= 1;
        working.delete(one);
      });
      working.add(one);
    };
    signal.addEventListener('abort', () => {
      this.#isOver = true;
      this.#disarm();
    });
    while (!signal.aborted) {
      this.#nudged = Promise.withResolvers();
      work();
      await Promise.race([this.#nudged.promise, pause(clock, POLL_MS, signal)]);
    }
    await Promise.allSettled(working);
  }

  /** Call it when a departure may be due. */
  nudge(): void {
    this.#nudged.resolve();
  }

  /**
   * Tries at once and waits until `byMs` (monotonic), trying again when it is due. Every waiting caller respects a
   * control plane that asks for patience. The departure continues whatever the answer is.
   */
  async waitForEnd(at: DepartureAt, byMs: number): Promise<Standing> {
    const { clock } = this.#deps;
    let last: DepartureLook = { kind: 'pending', reason: 'it is being deleted' };
    let dueMs = clock.monotonicMs();
    while (clock.monotonicMs() < byMs) {
      const isDue = clock.monotonicMs() >= dueMs;
      // An attempt may outlast its caller, and then continues.
      const leftMs = byMs - clock.monotonicMs();
      const seen = await within(clock, leftMs, isDue ? this.#look(at) : this.#findEnd(at));
      if (seen?.kind === 'ended') return seen;
      const nowMs = clock.monotonicMs();
      if (isDue) dueMs = nowMs + (seen?.afterMs ?? WATCH_MS);
      // While another worker tries, the caller still hears why the last attempt failed.
      last = seen ?? last;
      await sleep(clock, Math.max(0, Math.min(WATCH_MS, dueMs - nowMs, byMs - nowMs)));
    }
    return last;
  }

  /**
   * Tries. If another worker is trying now, looks whether it has finished: `undefined` if not. Never throws a transient
   * error.
   */
  async #look(at: DepartureAt): Promise<DepartureLook | undefined> {
    try {
      const attempt = await this.#limit(() => this.#attempt(at));
      if (attempt?.result.kind === 'ended') return attempt.result;
      if (attempt !== undefined) {
        const { guard, reason, afterMs } = attempt.result;
        return { kind: 'pending', guard, reason, afterMs };
      }
      return await this.#findEnd(at);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      // The caller learns only that the departure continues; the log says that this process was paused or cut off.
      if (error.code === 'FENCE_LOST') this.#deps.events.attemptFailed(undefined, error);
      return { kind: 'pending', reason: describeError(error) };
    }
  }

  /** Whether another worker finished it. `undefined` if the store cannot tell now. */
  async #findEnd({ key, incarnation, epoch }: DepartureAt): Promise<DepartureLook | undefined> {
    try {
      const departures = await this.#deps.store.departures({ key, incarnation, limit: RECENT });
      // The agent may have left before, under another epoch.
      const departure = departures.find((each) => each.epoch === epoch);
      return departure === undefined ? undefined : standingOf(departure);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      return undefined;
    }
  }

  /** Attempts any due departure, and continues while there are more. `more` starts another worker. */
  async #next(more: () => void): Promise<void> {
    for (;;) {
      const share = this.#deps.share();
      if (share === undefined) return;
      const attempt = await this.#attempt(share, more).catch((error: unknown) => {
        this.#failed(error);
        return undefined;
      });
      if (attempt === undefined) return;
    }
  }

  async #attempt(which: DueShare | DepartureAt, begun?: () => void): Promise<AttemptedDeletion | undefined> {
    const { clock, store, attempt, events, onAttempt } = this.#deps;
    let beganMs = clock.monotonicMs();
    const made = await store.attempt(which, async (record, fence) => {
      begun?.();
      beganMs = clock.monotonicMs() - Math.max(0, fence.nowMs - record.sinceMs);
      return attempt.run(record, fence);
    });
    if (made === undefined) return undefined;
    crashPoint('attempt.recorded');
    if (made.result.kind === 'later') this.#nudgeAfter(made.result.afterMs);
    events.attempted(made.record, made.result);
    onAttempt?.(made, clock.monotonicMs() - beganMs);
    return made;
  }

  /** Waits for a departure that is due soon, instead of the next poll. */
  #nudgeAfter(ms: number): void {
    const { clock } = this.#deps;
    const atMs = clock.monotonicMs() + ms;
    if (ms > SOON_MS || this.#isOver || (this.#nudgeAtMs !== undefined && this.#nudgeAtMs <= atMs)) return;
    this.#disarm();
    this.#nudgeAtMs = atMs;
    this.#disarm = clock.after(ms + CLOCK_STEP_MS, () => {
      this.#nudgeAtMs = undefined;
      this.nudge();
    });
  }

  #failed(error: unknown): void {
    const { events } = this.#deps;
    if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
    // The store's watch logs an outage once.
    else if (error.code !== 'STORE_UNAVAILABLE') events.attemptFailed(undefined, error);
  }
}

export function standingOf({ outcome, guard, reason }: DepartureRecord): Standing {
  return { kind: 'ended', outcome, guard, reason };
}
