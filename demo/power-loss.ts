import { setTimeout as delay } from 'node:timers/promises';

import { FleetCompanion } from '../test/support/world/fleet-companion.ts';
import type { Fleet, InstanceWrapping } from '../test/support/world/fleet.ts';
import { losePower } from '../test/support/world/power-loss.ts';
import { AFFECTED, type DemoScene, startFleet, underLoad, untilGone } from './scene.ts';
import type { Milestone, Notes } from './timeline.ts';

/** How long the control plane is down before the host loses power, and after it. */
const DOWN_MS = 1_500;
/** Kuma itself would need 72 h. */
const WATCHED_MS = 25_000;

/**
 * The host of one instance loses power while the control plane is down, and the control plane comes back. Seconds since
 * it is back; before, no peer can be told anything.
 */
export const POWER_LOSS_SCENES: readonly DemoScene[] = [
  scene('power loss, with the companion', async (fleet, disposables) => {
    const companion = disposables.use(await FleetCompanion.create(fleet));
    await companion.start();
    return companion.agent();
  }),
  scene('power loss, kuma-dp-agent alone', async (fleet) => fleet.agent('--lifecycle', 'agent')),
];

function scene(
  title: string,
  wrap: (fleet: Fleet, disposables: AsyncDisposableStack) => Promise<InstanceWrapping>,
): DemoScene {
  return {
    title,
    start: async (meshes) => {
      const fleet = await startFleet(meshes, (made) => wrap(made, meshes));
      return (notes) =>
        underLoad(fleet, notes, { happen: () => loseOne(fleet, notes), budgetMs: WATCHED_MS });
    },
  };
}

async function loseOne(fleet: Fleet, notes: Notes): Promise<void> {
  const { controlPlane } = fleet;
  const { process: host, command } = fleet.instance(AFFECTED);
  const watch = fleet.watch();
  await controlPlane.crash();
  await delay(DOWN_MS);
  await losePower(host);
  await delay(DOWN_MS);
  await controlPlane.start();
  const sinceMs = performance.now();
  const reach = async (what: Milestone['what'], event: Promise<unknown>): Promise<void> => {
    await event;
    notes.reach({ what, atMs: performance.now() - sinceMs });
  };
  try {
    await Promise.all([
      reach('object gone', untilGone(fleet, Date.now(), WATCHED_MS)),
      reach('out of endpoints', watch.waitFor('left', command.endpoint, { sinceMs, budgetMs: WATCHED_MS })),
    ]);
  } catch (cause) {
    if (!watch.current.includes(command.endpoint)) throw cause;
    notes.say(`still there after ${WATCHED_MS / 1_000} s`, performance.now() - sinceMs);
  }
}
