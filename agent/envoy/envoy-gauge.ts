import {
  ACTIVITY_STATS_FILTER,
  NO_DIRECTIONS,
  readActivity,
  readDirections,
  type Activity,
  type Directions,
} from './envoy-activity.pure.ts';
import { readTotals } from './call-memory.pure.ts';
import type { EnvoyAdmin } from '../ports.ts';

export interface EnvoyReading {
  readonly activity: Activity;
  readonly totals: ReadonlyMap<string, number>;
}

/** Reads {@link Activity} repeatedly. It asks for the listeners' directions once, as soon as Envoy knows them. */
export class EnvoyGauge {
  readonly #admin: EnvoyAdmin;
  #directions: Directions | undefined;

  constructor(admin: EnvoyAdmin) {
    this.#admin = admin;
  }

  get knowsDirections(): boolean {
    return this.#directions !== undefined;
  }

  get directions(): Directions {
    return this.#directions ?? NO_DIRECTIONS;
  }

  /** @throws the admin's failure */
  async read(): Promise<EnvoyReading> {
    this.#directions ??= await this.#admin.listenerConfig().then(readDirections, () => undefined);
    const statsText = await this.#admin.stats(ACTIVITY_STATS_FILTER);
    return { activity: readActivity(statsText, this.directions), totals: readTotals(statsText) };
  }
}
