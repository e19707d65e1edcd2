import type { Fleet, Instance, InstanceWrapping } from '../test/support/world/fleet.ts';
import { childrenOf } from '../test/support/world/power-loss.ts';
import { waitUntil } from '../test/support/world/wait-until.ts';
import { AFFECTED, type DemoScene, startFleet, underLoad, untilGone } from './scene.ts';
import type { MilestoneName, Notes } from './timeline.ts';

/** Envoy's reconnect backoff decides how long the bare restart takes; by then it is over. */
const PATIENCE_MS = 90_000;

interface Restart {
  readonly title: string;
  readonly wrapping: (fleet: Fleet) => InstanceWrapping;
  /** Ends the instance the way its supervisor would. */
  readonly stop: (instance: Instance) => void;
}

const RESTARTS: readonly Restart[] = [
  {
    title: "restart, Kuma's documented unit",
    wrapping: () => 'bare',
    // systemd's default, KillMode=control-group: kuma-dp and its Envoy are told at the same moment.
    stop: ({ process: { pid } }) => {
      for (const member of [pid, ...childrenOf(pid)]) process.kill(member, 'SIGTERM');
    },
  },
  {
    title: 'restart, with kuma-dp-agent',
    wrapping: (fleet) => fleet.agent('--lifecycle', 'agent'),
    stop: (instance) => {
      instance.process.signal('SIGTERM');
    },
  },
];

/** One instance is stopped and started again, as its unit does it. Seconds since the stop. */
export const RESTART_SCENES: readonly DemoScene[] = RESTARTS.map((side) => ({
  title: side.title,
  start: async (meshes) => {
    const fleet = await startFleet(meshes, (made) => Promise.resolve(side.wrapping(made)));
    return (notes) =>
      underLoad(fleet, notes, { happen: () => restart(fleet, side, notes), budgetMs: PATIENCE_MS });
  },
}));

async function restart(fleet: Fleet, side: Restart, notes: Notes): Promise<void> {
  const instance = fleet.instance(AFFECTED);
  const watch = fleet.watch();
  const sinceMs = performance.now();
  const wallMs = Date.now();
  const reach = async (what: MilestoneName, event: Promise<unknown>): Promise<void> => {
    await event;
    notes.reach({ what, atMs: performance.now() - sinceMs });
  };
  side.stop(instance);
  const over = Promise.withResolvers<undefined>();
  // If Envoy reconnects quickly, the object is back before any peer has noticed that it was gone.
  const unlessOver = (milestone: Promise<void>): Promise<void> => Promise.race([milestone, over.promise]);
  const gone = untilGone(fleet, wallMs, PATIENCE_MS);
  const left = watch.waitFor('left', instance.command.endpoint, { sinceMs, budgetMs: PATIENCE_MS });
  await Promise.all([
    unlessOver(reach('object gone', gone)),
    unlessOver(reach('out of endpoints', left)),
    startAgain(fleet, side, reach).then(() => {
      over.resolve(undefined);
    }),
  ]);
}

async function startAgain(
  fleet: Fleet,
  side: Restart,
  reach: (what: MilestoneName, event: Promise<unknown>) => Promise<void>,
): Promise<void> {
  const instance = fleet.instance(AFFECTED);
  const { endpoint } = instance.command;
  await reach('stopped', instance.process.exited);
  instance.start(side.wrapping(fleet));
  const wait = { budgetMs: PATIENCE_MS };
  await reach(
    'serving again',
    waitUntil(() => instance.answers(), { what: `${AFFECTED} to serve`, ...wait }),
  );
  const listed = async (): Promise<boolean> => (await fleet.client.endpoints()).includes(endpoint);
  await reach('back in endpoints', waitUntil(listed, { what: `the peer to list ${AFFECTED}`, ...wait }));
}
