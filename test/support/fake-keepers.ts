import { expect } from 'vitest';

import { agentEvents } from '../../agent/events.ts';
import { Endpoints } from '../../agent/object/endpoints.ts';
import { ObjectKeeper, type ObjectKeeperDeps } from '../../agent/object/keeper.ts';
import type { Endpoint } from '../../agent/ports.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeLog } from './fake-log.ts';

/** The Dataplane whose object the keepers keep. */
export const TEMPLATE = {
  type: 'Dataplane',
  mesh: 'default',
  name: 'web-1',
  networking: { address: '10.0.0.1', inbound: [{ port: 80 }] },
};

/** Real keepers of one object, on fakes. */
export class FakeKeepers {
  readonly clock = new FakeClock();
  readonly log = new FakeLog();
  readonly #made: ObjectKeeper[] = [];

  keeper(endpoints: readonly Endpoint[], deps: Partial<ObjectKeeperDeps> = {}): ObjectKeeper {
    const shared = { clock: this.clock, events: agentEvents(this.log), random: () => 0.5 };
    const key = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
    const made = new ObjectKeeper({
      ...shared,
      endpoints: new Endpoints({ ...shared, endpoints, key, settle: 'auto' }),
      departure: { key, own: { incarnation: 'run-1', address: '10.0.0.1' } },
      template: TEMPLATE,
      mayDelete: true,
      ...deps,
    });
    this.#made.push(made);
    return made;
  }

  /** Nothing goes on after a keeper is closed. */
  async close(): Promise<void> {
    for (const each of this.#made) each.close();
    await this.clock.settle();
    expect(this.clock.armed, 'timers left armed').toBe(0);
  }
}
