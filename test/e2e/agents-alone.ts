import { Fleet, type InstanceWrapping } from '../support/world/fleet.ts';
import { NAMES } from '../support/world/under-load.ts';

export interface Setting extends AsyncDisposable {
  readonly fleet: Fleet;
  /** Whether there is a companion. */
  readonly watched: boolean;
}

/** Three instances whose agents own their objects, with the REST API as their only endpoint. */
export async function agentsAlone(): Promise<Setting> {
  await using opening = new AsyncDisposableStack();
  const fleet = opening.use(await Fleet.create({ names: NAMES }));
  const wrapping: InstanceWrapping = fleet.agent('--lifecycle', 'agent');
  await fleet.start(wrapping);
  const world = opening.move();
  return { fleet, watched: false, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}
