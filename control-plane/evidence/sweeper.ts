import type { Clock } from '../../kernel/clock.ts';
import { describeKey, INCARNATION_LABEL } from '../../kuma/dataplane.ts';
import { keyOf, neverConnected, type DataplaneOverview } from '../../kuma/overview.ts';
import { beforeSidelining } from '../../kuma/sidelined.ts';
import { findOffline, type SweepFinding } from './sweep.pure.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { FleetPage } from './fleet-listing.ts';
import type { LookLog } from './look-log.ts';
import { periodically } from '../periodically.ts';
import type { Predecessors, Store } from '../ports.ts';
import type { ZoneWatch } from './zone-watch.ts';

export interface SweeperDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly watch: ZoneWatch;
  readonly looks: LookLog;
  readonly predecessors: Predecessors;
  readonly graceMs: number;
  readonly offlineAfterMs: number;
  readonly mode: 'delete' | 'report' | 'off';
  /** Called when a departure is due. */
  readonly nudge: () => void;
}

/** Often enough to have seen a dataplane unchanged for Envoy's longest backoff when its time has come. */
const INTERVAL_MS = 15_000;

/** Finds dataplanes that Kuma shows offline and that have no agent: hosts without one, and earlier leaks. */
export class Sweeper {
  readonly #deps: SweeperDeps;
  readonly #reported = new Set<string>();
  #judgedAtMs: number | undefined;

  constructor(deps: SweeperDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { mode } = this.#deps;
    if (mode === 'off') return;
    await periodically(this.#deps, () => this.#sweepNews(mode === 'report'), {
      everyMs: INTERVAL_MS,
      signal,
    });
  }

  /** A list that was judged already is no new evidence. */
  async #sweepNews(dryRun: boolean): Promise<void> {
    const page = await this.#deps.watch.fleet.paced(1_000);
    if (page.atMs === this.#judgedAtMs) return;
    this.#judgedAtMs = page.atMs;
    await this.#judge(page, dryRun);
  }

  /** @returns all offline dataplanes, with the guard that holds each back, if one does */
  async sweep(dryRun: boolean): Promise<readonly SweepFinding[]> {
    return this.#judge(await this.#deps.watch.fleet.fresh(1_000), dryRun);
  }

  async #judge({ overviews: listed, clockMs }: FleetPage, dryRun: boolean): Promise<readonly SweepFinding[]> {
    const { store, watch, looks, graceMs, offlineAfterMs } = this.#deps;
    this.#forgetReported(listed);
    // As an attempt sees it: what a sidelining left not ready was ready.
    const overviews = listed.map((each) => beforeSidelining(each));
    const recorded = new Set((await store.records()).map(({ key }) => describeKey(key)));
    const departed = await this.#departed(overviews, recorded);
    const findings = findOffline({
      overviews,
      clockMs,
      clockSteadyMs: watch.clock.steadyMs,
      around: watch.surroundings,
      graceMs,
      sweepOfflineAfterMs: offlineAfterMs,
      recorded,
      departed,
      unchangedMs: (overview) => looks.note(overview),
    });
    for (const finding of findings) if (finding.guard === undefined) await this.#act(finding, dryRun);
    return findings;
  }

  /** Reads the store only for objects of agents without a record and without a stream: there are hardly ever any. */
  async #departed(
    overviews: readonly DataplaneOverview[],
    recorded: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    // Where the control plane records no stream of any dataplane, a missing one says nothing.
    const recordsStreams = overviews.some(({ subscriptions }) => subscriptions.length > 0);
    if (!recordsStreams) return new Map();
    const leftovers = overviews.filter(
      (each) =>
        each.labels[INCARNATION_LABEL] !== undefined &&
        neverConnected(each) &&
        !recorded.has(describeKey(keyOf(each))),
    );
    const departed = leftovers.map(async (each) => {
      const key = keyOf(each);
      return [describeKey(key), await this.#deps.predecessors(key, ['requested'])] as const;
    });
    return new Map(await Promise.all(departed));
  }

  async #act({ key, reason }: SweepFinding, dryRun: boolean): Promise<void> {
    const { events, store, nudge } = this.#deps;
    const name = describeKey(key);
    if (dryRun) {
      if (!this.#reported.has(name)) events.sweepReported(key, reason);
      this.#reported.add(name);
    } else if (await store.beginSweep(key)) {
      events.swept(key, reason);
      nudge();
    }
  }

  #forgetReported(overviews: readonly DataplaneOverview[]): void {
    const names = new Set(overviews.map((each) => describeKey(keyOf(each))));
    for (const name of this.#reported) if (!names.has(name)) this.#reported.delete(name);
  }
}
