import { NetworkFleet, untilAcquainted } from '../test/support/world/network-fleet.ts';
import { added, AFFECTED, NAMES, type DemoScene, underLoad } from './scene.ts';
import type { Notes } from './timeline.ts';

/** Kuma alone takes about 160 s: what its kernel needs to give up the connection. */
const WATCHED_MS = 20_000;

/** No packet of one instance's host gets through any more, while its control plane lives. Seconds since then. */
export const LOST_HOST_SCENES: readonly DemoScene[] = [
  { title: 'host lost, with the companion', start: (meshes) => start('companion', meshes) },
  { title: 'host lost, Kuma alone', start: (meshes) => start('bare', meshes) },
];

async function start(how: 'bare' | 'companion', meshes: AsyncDisposableStack) {
  const fleet = await added(meshes, NetworkFleet.start({ names: NAMES, with: how }));
  await untilAcquainted(fleet);
  return (notes: Notes) =>
    underLoad(fleet, notes, { happen: () => loseOne(fleet, notes), budgetMs: WATCHED_MS });
}

async function loseOne(fleet: NetworkFleet, notes: Notes): Promise<void> {
  const { host, command } = fleet.instance(AFFECTED);
  const watch = fleet.watch();
  const sinceMs = performance.now();
  host.fallSilent();
  try {
    const { atMs } = await watch.waitFor('left', command.endpoint, { sinceMs, budgetMs: WATCHED_MS });
    notes.reach({ what: 'out of endpoints', atMs: atMs - sinceMs });
  } catch (cause) {
    if (!watch.current.includes(command.endpoint)) throw cause;
    notes.say(`still there after ${WATCHED_MS / 1_000} s`, performance.now() - sinceMs);
  }
}
