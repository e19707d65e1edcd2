import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import type { ControlPlanes, OverviewPage } from '../ports.ts';
import { restMs } from './listing-pace.pure.ts';

export interface FleetPage extends OverviewPage {
  /** When the control plane was asked, monotonic. */
  readonly atMs: number;
}

export interface FleetListingDeps {
  readonly clock: Clock;
  readonly controlPlanes: Pick<ControlPlanes, 'overviews'>;
  /** Every page, once. */
  readonly onListed: (page: FleetPage) => void;
}

interface Listing {
  readonly atMs: number;
  readonly page: Promise<FleetPage>;
  /** `undefined` while it is being read. */
  restMs: number | undefined;
}

const BUDGET_MS = 20_000;

/** One list of all dataplanes for everything in this process that needs one. */
export class FleetListing {
  readonly #deps: FleetListingDeps;
  #last: Listing | undefined;

  constructor(deps: FleetListingDeps) {
    this.#deps = deps;
  }

  /** A list that is at most `maxAgeMs` old, or is being read. */
  fresh(maxAgeMs: number): Promise<FleetPage> {
    return this.#read(() => maxAgeMs);
  }

  /** As {@link fresh}, or older, as often as the cost of a list allows. */
  paced(maxAgeMs: number): Promise<FleetPage> {
    return this.#read((rest) => Math.max(maxAgeMs, rest));
  }

  #read(mostMs: (rest: number) => number): Promise<FleetPage> {
    const atMs = this.#deps.clock.monotonicMs();
    const last = this.#last;
    if (last !== undefined && (last.restMs === undefined || atMs - last.atMs <= mostMs(last.restMs)))
      return last.page;
    const listing: Listing = { atMs, page: this.#list(atMs), restMs: undefined };
    this.#last = listing;
    return this.#settle(listing);
  }

  async #list(atMs: number): Promise<FleetPage> {
    const { clock, controlPlanes, onListed } = this.#deps;
    const listed = await withDeadline(
      { clock, action: 'list the dataplanes', budgetMs: BUDGET_MS },
      ({ signal }) => controlPlanes.overviews(signal),
    );
    const page = { ...listed, atMs };
    onListed(page);
    return page;
  }

  async #settle(listing: Listing): Promise<FleetPage> {
    try {
      const page = await listing.page;
      listing.restMs = restMs(page.workMs ?? 0);
      return page;
    } catch (error) {
      if (this.#last === listing) this.#last = undefined;
      throw error;
    }
  }
}
