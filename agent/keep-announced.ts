import { sleep, type Clock } from '../kernel/clock.ts';
import type { DataplaneResource } from '../kuma/dataplane.ts';
import type { AgentEvents } from './events.ts';
import type { Registration } from './registration.ts';

export interface KeepAnnouncedDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: AgentEvents;
  readonly registration: Pick<Registration, 'announceAgain'>;
}

/** Longer than most starts take. */
const LOOK_INTERVAL_MS = 2_000;

/**
 * Puts an announced object again if it goes before Envoy serves: without it the control plane gives Envoy nothing, and
 * nobody else would miss it. Where the run before was the control plane's and ended without a word, that deletes by
 * name once its deregistration delay is over, whoever put the object since.
 *
 * @param until aborts when Envoy serves, or a stop comes. Settles when nothing is under way any more; never throws
 * @see kuma pkg/xds/server/callbacks/dataplane_lifecycle.go, deregister
 */
export async function keepAnnounced(
  { clock, random, events, registration }: KeepAnnouncedDeps,
  template: DataplaneResource,
  until: AbortSignal,
): Promise<void> {
  for (;;) {
    await sleep(clock, LOOK_INTERVAL_MS * (0.75 + random() / 2), until).catch(() => {});
    if (until.aborted) return;
    // What fails is looked at again, and whoever makes the object ready says what is wrong.
    const put = await registration.announceAgain(template, until).catch(() => false);
    if (put) events.announcedAgain();
  }
}
