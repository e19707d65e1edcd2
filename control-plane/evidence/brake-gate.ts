import { describeKey, storedResource } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import {
  describeBrakes,
  judgeBrake,
  type BrakeRuling,
  type BrakeSettings,
  type BrakeStanding,
  type BrakeView,
  type PastDeletion,
} from './brake.pure.ts';
import type { Cause } from '../records.pure.ts';
import { readinessByService } from './services.pure.ts';
import type { Store } from '../ports.ts';
import type { ZoneWatch } from './zone-watch.ts';

export interface BrakeGateDeps {
  readonly store: Store;
  readonly watch: ZoneWatch;
  readonly settings: BrakeSettings;
}

/** A list of this age is good enough to count dataplanes. */
const FLEET_AGE_MS = 5_000;
const MOST_DEPARTURES = 100_000;

/** Collects the brake's evidence: the fleet, recent deletions, and operators' releases. */
export class BrakeGate {
  readonly #deps: BrakeGateDeps;

  constructor(deps: BrakeGateDeps) {
    this.#deps = deps;
  }

  async judge(candidate: DataplaneOverview): Promise<BrakeRuling> {
    return judgeBrake(await this.#view(), candidate);
  }

  /** The meshes and services that hold a deletion back, or soon will. */
  async standings(): Promise<readonly BrakeStanding[]> {
    const view = await this.#view();
    const held = new Set(
      (await this.#deps.store.records())
        .filter(({ guard }) => guard === 'brake')
        .map(({ key }) => describeKey(key)),
    );
    return describeBrakes(
      view,
      view.overviews.filter((each) => held.has(describeKey(keyOf(each)))),
    );
  }

  async #view(): Promise<BrakeView> {
    const { store, watch, settings } = this.#deps;
    const { overviews } = await watch.fleet.fresh(FLEET_AGE_MS);
    const nowMs = await store.nowMs();
    const past = await this.#past(nowMs - settings.windowMs);
    // Deleted since the list was made.
    const gone = new Set(
      past.filter(({ atMs }) => atMs > nowMs - FLEET_AGE_MS * 2).map(({ key }) => describeKey(key)),
    );
    return {
      overviews: overviews.filter((each) => !gone.has(describeKey(keyOf(each)))),
      past,
      releases: await store.brakeReleases(),
      nowMs,
      settings,
    };
  }

  async #past(sinceMs: number): Promise<readonly PastDeletion[]> {
    const { store } = this.#deps;
    const departures = await store.departures({
      causes: BRAKED,
      sinceMs,
      limit: MOST_DEPARTURES,
    });
    const deleted = departures.filter(({ outcome }) => outcome === 'deleted');
    if (deleted.length === 0) return [];
    const bodies = new Map(
      (await store.deletedBodies(sinceMs, BRAKED)).map(({ epoch, resource }) => [epoch, resource]),
    );
    return deleted.map((departure) => ({ ...departure, services: servicesOf(bodies.get(departure.epoch)) }));
  }
}

/** The brake does not hold a requested departure. */
const BRAKED: readonly Cause[] = ['fallback', 'sweep'];

function servicesOf(resource: string | undefined): readonly string[] {
  const stored = storedResource(resource);
  return stored === undefined ? [] : [...readinessByService(stored).keys()];
}
