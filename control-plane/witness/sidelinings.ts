import pLimit from 'p-limit';

import { pause, sleep, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { hasCode, OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { isSidelined, sideline } from '../../kuma/sidelined.ts';
import { crashPoint } from '../departures/crash-points.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Alone, ControlPlanes, Store } from '../ports.ts';
import type { SideliningRecord } from '../records.pure.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import { admitSidelinings, pastOf } from './sidelining-limits.pure.ts';
import { judgeSidelining } from './sidelining.pure.ts';

export interface SideliningsDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  readonly watch: Pick<ZoneWatch, 'fleet'>;
  readonly isOn: boolean;
  /** Whether it has lost its agent, and no peer has reached it since. */
  readonly isDoubted: (name: string) => boolean;
  /** Whether an agent of this name is attached here, or waits until the store has recorded that. */
  readonly isReturning: (key: DataplaneKey) => boolean;
  /** The number of parallel writes. */
  readonly concurrency: number;
  /** Called with the outcome of one: `tookMs` is the time since the loss, by the store's clock. */
  readonly onSidelined: (sidelining: SideliningRecord, tookMs: number) => void;
  readonly onRestored: () => void;
}

/** The result of one look at a sidelining. */
interface Outcome {
  readonly value: { readonly kind: 'sidelined' | 'restored' | 'nothing'; readonly error?: unknown };
  readonly sidelining?: SideliningRecord;
}

/** A change of an object that is about to be sent. */
interface SideliningWrite {
  readonly alone: Alone;
  readonly sidelining: SideliningRecord;
  /** The record for a failure. */
  readonly retry: (error: unknown, changed: SideliningRecord) => Outcome;
}

/** The result of `restoreAll`. */
export interface RestoredAll {
  readonly restored: readonly DataplaneKey[];
  readonly unrestored: readonly DataplaneKey[];
}

const POLL_MS = 500;
const AWAIT_MS = 100;
const OFF_MS = 60_000;
const BATCH = 512;
/** How long a look waits for an answer of a control plane; less than the lock lasts. */
const REQUEST_BUDGET_MS = 1_500;
const RETRY_MS = 1_000;
/** The greatest age of the list that says whether another dataplane of a service is ready, before a retry. */
const READY_AGE_MS = 500;
const NOTHING: Outcome = { value: { kind: 'nothing' } };

/**
 * Carries out the decisions about lost dataplanes, and puts returning ones back. If a replica dies, any other
 * continues.
 */
export class Sidelinings {
  readonly #deps: SideliningsDeps;
  readonly #underWay = new Set<string>();
  #nudged = Promise.withResolvers<void>();
  #offUntilMs = Number.NEGATIVE_INFINITY;

  constructor(deps: SideliningsDeps) {
    this.#deps = deps;
  }

  /**
   * Puts everything back, and sidelines nothing for a minute. Otherwise the sidelined dataplanes of a removed companion
   * would stay out.
   *
   * @returns which are back, and which are not by the end of the budget
   */
  async restoreAll(budgetMs: number): Promise<RestoredAll> {
    const { clock, store } = this.#deps;
    const byMs = clock.monotonicMs() + budgetMs;
    this.#offUntilMs = clock.monotonicMs() + OFF_MS;
    const wanted = new Set<string>();
    for (const each of await store.sidelinings())
      if (isToPutBack(each) && (await this.restore(each.key))) wanted.add(describeKey(each.key));
    for (;;) {
      const all = await store.sidelinings();
      const known = all.filter(({ key }) => wanted.has(describeKey(key)));
      const unrestored = known.filter(isToPutBack).map(({ key }) => key);
      if (unrestored.length === 0 || clock.monotonicMs() >= byMs)
        return { restored: known.filter((each) => !isToPutBack(each)).map(({ key }) => key), unrestored };
      await sleep(clock, AWAIT_MS);
    }
  }

  get #isOn(): boolean {
    const { isOn, clock } = this.#deps;
    return isOn && clock.monotonicMs() >= this.#offUntilMs;
  }

  /** Call it when a departure may be due. */
  nudge(): void {
    this.#nudged.resolve();
  }

  /** Ends with `signal`, once all work in progress has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, concurrency } = this.#deps;
    const limit = pLimit(concurrency);
    const working = new Set<Promise<void>>();
    while (!signal.aborted) {
      this.#nudged = Promise.withResolvers();
      const due = await this.#due();
      let barred: Promise<ReadonlySet<string>> | undefined;
      const barredNow = (): Promise<ReadonlySet<string>> => (barred ??= this.#barred(due.filter(isRetried)));
      for (const each of due) {
        const name = describeKey(each.key);
        if (this.#underWay.has(name)) continue;
        this.#underWay.add(name);
        const one = limit(() => this.#look(each, barredNow)).finally(() => {
          this.#underWay.delete(name);
          working.delete(one);
        });
        working.add(one);
      }
      await Promise.race([this.#nudged.promise, pause(clock, POLL_MS, signal)]);
    }
    await Promise.allSettled(working);
  }

  /**
   * Puts the dataplane back, whatever its agent does.
   *
   * @returns `false` if it is not sidelined
   */
  async restore(key: DataplaneKey): Promise<boolean> {
    const { store } = this.#deps;
    const isActive = await store.whileAlone(key, ({ sidelining, fence }) => {
      if (sidelining === undefined || sidelining.stage === 'released')
        return Promise.resolve({ value: false });
      const restoring = { ...sidelining, stage: 'restoring', dueAtMs: fence.nowMs } as const;
      return Promise.resolve({ value: true, sidelining: restoring });
    });
    this.nudge();
    return isActive;
  }

  async #due(): Promise<readonly SideliningRecord[]> {
    try {
      return await this.#deps.store.dueSidelinings(BATCH);
    } catch (error) {
      if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
      return [];
    }
  }

  /** The retried ones that may not go any more: the last other ready dataplane of a service may be gone by now. */
  async #barred(retried: readonly SideliningRecord[]): Promise<ReadonlySet<string>> {
    const { clock, store, watch, isDoubted } = this.#deps;
    const names = new Set(retried.map(({ key }) => describeKey(key)));
    const [{ overviews }, all, nowMs] = await Promise.all([
      withDeadline({ clock, action: 'list the dataplanes', budgetMs: REQUEST_BUDGET_MS }, () =>
        watch.fleet.paced(READY_AGE_MS),
      ),
      store.sidelinings(),
      store.nowMs(),
    ]);
    const past = pastOf(all.filter(({ key }) => !names.has(describeKey(key))));
    const rulings = admitSidelinings(retried, { overviews, past, isDoubted, nowMs });
    return new Set([...names].filter((name) => rulings.get(name)?.admitted !== true));
  }

  /** Never throws. */
  async #look(due: SideliningRecord, barred: () => Promise<ReadonlySet<string>>): Promise<void> {
    const { store, events, onRestored } = this.#deps;
    const { key } = due;
    try {
      const isBarred = isRetried(due) && (await barred()).has(describeKey(key));
      const { kind, error } = await store.whileAlone(key, (alone) => this.#act(alone, { key, isBarred }));
      crashPoint('sideline.recorded');
      if (error !== undefined) events.sideliningFailed(key, error);
      if (kind === 'restored') {
        events.restored(key);
        onRestored();
      }
      if (kind !== 'nothing') this.nudge();
    } catch (error) {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
      else if (error.code !== 'STORE_UNAVAILABLE' && error.code !== 'STORE_BUSY')
        events.sideliningFailed(key, error);
    }
  }

  async #act(
    alone: Alone,
    { key, isBarred }: { readonly key: DataplaneKey; readonly isBarred: boolean },
  ): Promise<Outcome> {
    const { record, sidelining, fence } = alone;
    const isOn = this.#isOn;
    if (sidelining === undefined || sidelining.stage === 'released') return NOTHING;
    const retry = (error: unknown, changed = sidelining): Outcome => {
      if (!(error instanceof OperationalError) || error.code === 'FENCE_LOST') throw error;
      const dueAtMs = fence.nowMs + RETRY_MS * (0.5 + this.#deps.random());
      // A sidelined dataplane whose agent is back is due at once.
      const stage = changed.stage === 'out' && record?.state === 'attached' ? 'restoring' : changed.stage;
      return { value: { kind: 'nothing', error }, sidelining: { ...changed, stage, dueAtMs } };
    };
    let stored: DataplaneOverview | undefined;
    try {
      stored = await this.#overview(key);
    } catch (error) {
      return retry(error);
    }
    const isReturning = this.#deps.isReturning(key);
    const given = { sidelining, record, stored, isReturning, nowMs: fence.nowMs, isOn, isBarred };
    const next = judgeSidelining(given);
    if (next.step === 'note') return this.#noted(sidelining, next.sidelining, fence.nowMs);
    if (stored === undefined) throw new TypeError('What is not there is not written');
    const write = { alone, sidelining, retry };
    return next.step === 'sideline' ? this.#sideline(write, stored) : this.#restore(write, next.resource);
  }

  #noted(before: SideliningRecord, after: SideliningRecord, nowMs: number): Outcome {
    const { events, onSidelined } = this.#deps;
    if (before.stage === 'outstanding' && after.stage === 'out') {
      events.sidelined(after, after.reason);
      onSidelined(after, nowMs - after.lostAtMs);
    }
    if (before.stage === 'outstanding' && after.stage === 'released') events.sideliningDropped(after.key);
    if (before.stage === 'out' && after.stage === 'released') events.sideliningTaken(after.key);
    return { value: { kind: 'nothing' }, sidelining: after };
  }

  async #sideline(
    { alone, sidelining, retry }: SideliningWrite,
    stored: DataplaneOverview,
  ): Promise<Outcome> {
    const { fence, keep } = alone;
    const { key } = sidelining;
    const made = sideline(stored.resource, sidelining);
    if (made === undefined)
      return { value: { kind: 'nothing' }, sidelining: { ...sidelining, stage: 'released' } };
    const { states = made.states } = sidelining;
    const times = { sentAtMs: fence.nowMs, timeBefore: stored.modificationTime };
    const sent: SideliningRecord = { ...sidelining, ...times, states, unanswered: true };
    await keep(sent);
    crashPoint('sideline.kept');
    try {
      await this.#put(key, made.resource, () => {
        fence.assertHeld();
        if (this.#deps.isReturning(key))
          throw new OperationalError('CANCELLED', 'Cancelled to sideline: its agent is back');
      });
    } catch (error) {
      const failed = retry(error, sent);
      // No failure to report: what the store records next decides.
      return hasCode(error, 'CANCELLED') ? { ...failed, value: { kind: 'nothing' } } : failed;
    }
    crashPoint('sideline.put');
    const seen = await this.#overview(key).catch(() => undefined);
    const isMarked = seen === undefined ? undefined : isSidelined(seen, sidelining);
    const out: SideliningRecord = {
      ...sent,
      stage: 'out',
      // An earlier, abandoned write may still land.
      unanswered: sidelining.unanswered,
      isEffective: true,
      isMarked,
      timeAfter: seen?.modificationTime,
      dueAtMs: fence.nowMs + 1_000,
    };
    this.#noted(sidelining, out, fence.nowMs);
    return { value: { kind: 'sidelined' }, sidelining: out };
  }

  async #restore(
    { alone, sidelining, retry }: SideliningWrite,
    resource: DataplaneResource,
  ): Promise<Outcome> {
    const { fence, keep } = alone;
    const sent: SideliningRecord = { ...sidelining, stage: 'restoring', sentAtMs: fence.nowMs };
    await keep(sent);
    crashPoint('restore.kept');
    try {
      await this.#put(sidelining.key, resource, () => {
        fence.assertHeld();
      });
    } catch (error) {
      return retry(error, sent);
    }
    crashPoint('restore.put');
    const { nowMs } = fence;
    return {
      value: { kind: 'restored' },
      sidelining: { ...sent, heldSinceMs: nowMs, dueAtMs: nowMs + 1_000 },
    };
  }

  async #put(key: DataplaneKey, resource: DataplaneResource, beforeSend: () => void): Promise<void> {
    const { clock, controlPlanes } = this.#deps;
    const action = `put dataplane ${describeKey(key)}`;
    await withDeadline({ clock, action, budgetMs: REQUEST_BUDGET_MS }, ({ signal }) =>
      controlPlanes.put(key, resource, { beforeSend, signal }),
    );
  }

  async #overview(key: DataplaneKey): Promise<DataplaneOverview | undefined> {
    const { clock, controlPlanes } = this.#deps;
    const action = `look at dataplane ${describeKey(key)}`;
    const look = await withDeadline({ clock, action, budgetMs: REQUEST_BUDGET_MS }, ({ signal }) =>
      controlPlanes.overview(key, signal),
    );
    return look.overview;
  }
}

/** Whether an earlier try failed. */
function isRetried({ stage, beganAtMs, dueAtMs }: SideliningRecord): boolean {
  return stage === 'outstanding' && dueAtMs > beganAtMs;
}

/** Whether the object is, or may be, as a sidelining has left it. */
function isToPutBack({ stage, heldSinceMs }: SideliningRecord): boolean {
  return stage !== 'released' && !(stage === 'restoring' && heldSinceMs !== undefined);
}
