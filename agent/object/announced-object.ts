import { pause, type Clock } from '../../kernel/clock.ts';
import { spread } from '../../kernel/spread.ts';
import type { DataplaneResource } from '../../kuma/dataplane.ts';
import type { AgentEvents } from '../events.ts';
import type { Registration } from './registration.ts';

export interface AnnouncedObjectDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: AgentEvents;
  readonly registration: Pick<Registration, 'announceAgain'>;
  readonly template: DataplaneResource;
  /** Aborts when a stop comes, or kuma-dp has ended. */
  readonly over: AbortSignal;
}

/** Longer than most starts take. */
const LOOK_INTERVAL_MS = 2_000;

/**
 * An object that the agent has put, until Envoy serves: it is put again if it goes. Without it the control plane gives
 * Envoy nothing, and nobody else would miss it. Where the run before was the control plane's and ended without a word,
 * that deletes by name once its deregistration delay is over, whoever put the object since.
 *
 * @see kuma pkg/xds/server/callbacks/dataplane_lifecycle.go, deregister
 */
export class AnnouncedObject {
  readonly #deps: AnnouncedObjectDeps;
  readonly #serving = new AbortController();
  readonly #kept: Promise<void>;

  constructor(deps: AnnouncedObjectDeps) {
    this.#deps = deps;
    this.#kept = this.#keep(AbortSignal.any([deps.over, this.#serving.signal]));
  }

  /** Settles when nothing is under way any more: what is put not ready must not come after what is put ready. */
  onServing(): Promise<void> {
    this.#serving.abort(new Error('Envoy serves'));
    return this.#kept;
  }

  async #keep(until: AbortSignal): Promise<void> {
    const { clock, random, events, registration, template } = this.#deps;
    for (;;) {
      await pause(clock, spread(LOOK_INTERVAL_MS, random()), until);
      if (until.aborted) return;
      // What fails is looked at again, and whoever makes the object ready says what is wrong.
      const put = await registration.announceAgain(template, until).catch(() => false);
      if (put) events.announcedAgain();
    }
  }
}
