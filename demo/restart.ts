/**
 * Restarts one of three instances under load, twice at the same time: as the systemd unit of Kuma's documentation does
 * it, and with kuma-dp-agent in front. Prints what happens while it happens, then both side by side.
 *
 * The control plane is an emulator; dataplanes, peers and load are real Envoys and real requests on loopback.
 */
import { readdirSync, readFileSync } from 'node:fs';

import { Fleet, type Instance, type Wrapping } from '../test/support/world/fleet.ts';
import { LoadGenerator } from '../test/support/world/load-generator.ts';
import { waitUntil } from '../test/support/world/wait-until.ts';
import { Timeline, type Failures, type Milestone } from './timeline.ts';

const NAMES = ['backend-1', 'backend-2', 'backend-3'];
const RESTARTED = 'backend-2';
const RATE_PER_SECOND = 100;
/** Envoy's reconnect backoff decides how long the bare restart takes; by then it is over. */
const PATIENCE_MS = 90_000;

/** Who took the object away: a DELETE, or the control plane after its delay. */
const GONE: ReadonlySet<string> = new Set(['deleted', 'deregistered']);

interface Notes {
  readonly reach: (milestone: Milestone) => void;
  readonly fail: (failures: Failures) => void;
}

interface Side {
  readonly title: string;
  readonly wrapping: (fleet: Fleet) => Wrapping;
  /** Ends the instance the way its supervisor would. */
  readonly stop: (instance: Instance) => void;
}

const SIDES: readonly Side[] = [
  {
    title: "Kuma's documented unit",
    wrapping: () => 'bare',
    // systemd's default, KillMode=control-group: kuma-dp and its Envoy are told at the same moment.
    stop: ({ process: { pid } }) => {
      for (const member of [pid, ...childrenOf(pid)]) process.kill(member, 'SIGTERM');
    },
  },
  {
    title: 'with kuma-dp-agent',
    wrapping: (fleet) => fleet.agent('--lifecycle', 'agent'),
    stop: (instance) => {
      instance.process.signal('SIGTERM');
    },
  },
];

const interrupted = new AbortController();
process.once('SIGINT', () => {
  interrupted.abort(new Error('interrupted'));
});

const disposables = new AsyncDisposableStack();
try {
  await Promise.race([demonstrate(disposables), aborted(interrupted.signal)]);
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
} finally {
  await disposables.disposeAsync();
}
if (interrupted.signal.aborted) {
  console.log('\nInterrupted; nothing is left running.');
  // What waits for milestones that will never come must not hold the terminal.
  process.exit(130);
}

async function demonstrate(stack: AsyncDisposableStack): Promise<void> {
  console.log(
    `Starting two meshes: ${NAMES.length} instances each, one peer, ${RATE_PER_SECOND} requests/s, no retries …`,
  );
  const timeline = new Timeline(SIDES.map(({ title }) => title));
  const fleets: Fleet[] = [];
  for (const side of SIDES) {
    const fleet = stack.use(await Fleet.create({ names: NAMES }));
    for (const instance of fleet.instances) instance.start(side.wrapping(fleet));
    await fleet.untilListed();
    await fleet.untilServing();
    fleets.push(fleet);
  }
  console.log(`Restarting ${RESTARTED} in both, at the same moment. Seconds since then:\n`);
  timeline.begin();
  await Promise.all(
    SIDES.map(async (side, column) => {
      const fleet = fleets[column];
      if (fleet === undefined) return;
      await restart(fleet, side, {
        reach: (milestone) => {
          timeline.reach(column, milestone);
        },
        fail: (failures) => {
          timeline.fail(column, failures);
        },
      });
    }),
  );
  timeline.end();
}

async function restart(fleet: Fleet, side: Side, note: Notes): Promise<void> {
  const instance = fleet.instance(RESTARTED);
  const { endpoint } = instance.command;
  const watch = fleet.watch();
  await using load = new LoadGenerator({
    target: { protocol: 'http1', port: fleet.client.ports.http1 },
    ratePerSecond: RATE_PER_SECOND,
  });
  await load.waitForSuccesses(RATE_PER_SECOND);
  const sinceMs = performance.now();
  const wallMs = Date.now();
  const reach = async <T>(what: Milestone['what'], event: Promise<T>): Promise<void> => {
    await event;
    note.reach({ what, atMs: performance.now() - sinceMs });
  };
  side.stop(instance);
  const over = Promise.withResolvers<undefined>();
  // Where Envoy reconnects quickly the object is back before any peer has noticed that it was gone.
  const unlessOver = (milestone: Promise<void>): Promise<void> => Promise.race([milestone, over.promise]);
  const { journal } = fleet.controlPlane;
  const gone = journal.waitForEvent(
    ({ kind, subject, atMs }) => GONE.has(kind) && subject.endsWith(RESTARTED) && atMs >= wallMs,
    { budgetMs: PATIENCE_MS },
  );
  const left = watch.waitFor('left', endpoint, { sinceMs, budgetMs: PATIENCE_MS });
  await Promise.all([
    unlessOver(reach('object gone', gone)),
    unlessOver(reach('out of endpoints', left)),
    startAgain(fleet, side, reach).then(() => {
      over.resolve(undefined);
    }),
  ]);
  await load.waitForSuccesses(RATE_PER_SECOND, { budgetMs: PATIENCE_MS });
  const { sent, failed } = await load.stop();
  note.fail({ sent, failed });
}

async function startAgain(
  fleet: Fleet,
  side: Side,
  reach: <T>(what: Milestone['what'], event: Promise<T>) => Promise<void>,
): Promise<void> {
  const instance = fleet.instance(RESTARTED);
  const { endpoint } = instance.command;
  await reach('stopped', instance.process.exited);
  instance.start(side.wrapping(fleet));
  const wait = { budgetMs: PATIENCE_MS };
  await reach(
    'serving again',
    waitUntil(() => instance.answers(), { what: `${RESTARTED} to serve`, ...wait }),
  );
  const listed = async (): Promise<boolean> => (await fleet.client.endpoints()).includes(endpoint);
  await reach('back in endpoints', waitUntil(listed, { what: `the peer to list ${RESTARTED}`, ...wait }));
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

/** Its own threads' children, as Linux lists them. */
function childrenOf(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}
