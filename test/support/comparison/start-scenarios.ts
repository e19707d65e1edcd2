import { createServer } from 'node:net';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { type KumaWorld } from '../kuma-worlds/kuma-world.ts';
import { childrenOf } from '../world/power-loss.ts';
import { SocketServer } from '../world/socket-server.ts';
import { type LaneKind } from './scenario.ts';
import { type UnitLane } from './unit-lane.ts';

/** Two units in one world of their own. */
export interface UnitScene {
  readonly world: KumaWorld;
  readonly lanes: readonly [UnitLane, UnitLane];
}

/** Milliseconds. */
export type Durations = Readonly<Record<LaneKind, number>>;

/** A start, a crash or a stop while something is broken: how long it takes, alone and with the agent. */
export interface StartScenario {
  readonly title: string;
  /** The agent's endpoints; the control plane's REST API if left out. */
  readonly endpoints?: (world: KumaWorld, disposables: AsyncDisposableStack) => Promise<readonly string[]>;
  readonly options?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly deregistrationDelayMs?: number;
  /** How much later the agent may be; a second if left out. */
  readonly laterMs?: number;
  readonly run: (scene: UnitScene) => Promise<Durations>;
}

const WAITED_MS = 3_000;
const FAILED_STOP_MS = 2_000;

/**
 * Only on real binaries: how often a start fails and is tried again before the port is free depends on how busy the
 * machine is, and beside other suites that decides more than the agent does.
 */
export const REPEATED_STARTS: readonly StartScenario[] = [
  {
    title: 'a start that fails by itself, its readiness port taken for a while: until it serves',
    // The port is free again anywhere between two restarts, which are a second apart.
    laterMs: 2_000,
    run: async ({ lanes }) => {
      const servers = await each(lanes, (lane) => occupy(lane.command.readinessPort));
      start(lanes);
      await delay(WAITED_MS);
      for (const server of Object.values(servers)) await server.close();
      return untilServing(lanes, performance.now());
    },
  },
];

export const STARTS: readonly StartScenario[] = [
  {
    title: 'a restart of a start that waited for its control plane: until it serves',
    run: async ({ lanes, world }) => {
      await world.stop();
      start(lanes);
      await delay(WAITED_MS);
      const sinceMs = performance.now();
      await Promise.all([world.start(), each(lanes, (lane) => lane.restart())]);
      return untilServing(lanes, sinceMs);
    },
  },
  {
    title: 'host and control plane crash together: until it serves, once both are back',
    run: async ({ lanes, world }) => {
      await serving(lanes);
      await Promise.all([world.kill(), each(lanes, (lane) => lane.losePower())]);
      await world.start();
      const sinceMs = performance.now();
      start(lanes);
      return untilServing(lanes, sinceMs);
    },
  },
  {
    title: 'kuma-dp is killed, no deregistration delay, REST closed to hosts: until it serves again',
    deregistrationDelayMs: 0,
    endpoints: refusing,
    run: async ({ lanes }) => {
      await serving(lanes);
      const sinceMs = performance.now();
      for (const lane of lanes) process.kill(kumaDpOf(lane), 'SIGKILL');
      await each(lanes, (lane) => lane.untilGone());
      return untilServing(lanes, sinceMs);
    },
  },
  {
    title: 'a restart while REST is closed to hosts: until it serves again',
    endpoints: refusing,
    deregistrationDelayMs: 0,
    laterMs: FAILED_STOP_MS,
    run: async ({ lanes }) => {
      await serving(lanes);
      const sinceMs = performance.now();
      await each(lanes, (lane) => lane.restart());
      return untilServing(lanes, sinceMs);
    },
  },
  {
    title: 'a start whose companion refuses connections: until it serves',
    endpoints: async (world) => [`grpc://127.0.0.1:${await refusingPort()}`, world.secureRestUrl],
    run: firstStart,
  },
  {
    title: 'a start whose companion is silent: until it serves',
    endpoints: async (world, disposables) => [
      `grpc://127.0.0.1:${await silentPort(disposables)}`,
      world.secureRestUrl,
    ],
    run: firstStart,
  },
  {
    title: 'a start whose REST API is silent: until it serves',
    endpoints: silent,
    run: firstStart,
  },
];

/** Until the unit has ended, ExecStopPost= included. */
export const BROKEN_STOPS: readonly StartScenario[] = [
  {
    title: 'a stop of a start that waits for its control plane',
    run: async ({ lanes, world }) => {
      await world.stop();
      start(lanes);
      await delay(WAITED_MS);
      return untilStopped(lanes);
    },
  },
  {
    title: 'a stop whose REST API refuses connections',
    endpoints: refusing,
    laterMs: FAILED_STOP_MS,
    run: stopAfterServing,
  },
  {
    title: 'a stop whose REST API is silent',
    endpoints: silent,
    laterMs: FAILED_STOP_MS,
    run: stopAfterServing,
  },
  {
    title: 'a stop whose companion is silent',
    endpoints: async (_world, disposables) => [`grpc://127.0.0.1:${await silentPort(disposables)}`],
    laterMs: FAILED_STOP_MS,
    run: stopAfterServing,
  },
  {
    title: 'a stop with files of other dataplanes in the folder, REST closed to hosts',
    endpoints: refusing,
    laterMs: FAILED_STOP_MS,
    run: async (scene) => {
      await serving(scene.lanes);
      leaveStaleFiles(scene.lanes[1].stateDir);
      return untilStopped(scene.lanes);
    },
  },
  {
    title: 'a power-off: the control plane is out of reach before the stop',
    laterMs: FAILED_STOP_MS,
    run: async ({ lanes, world }) => {
      await serving(lanes);
      await world.kill();
      return untilStopped(lanes);
    },
  },
];

async function firstStart({ lanes }: UnitScene): Promise<Durations> {
  const sinceMs = performance.now();
  start(lanes);
  return untilServing(lanes, sinceMs);
}

async function stopAfterServing({ lanes }: UnitScene): Promise<Durations> {
  await serving(lanes);
  return untilStopped(lanes);
}

async function serving(lanes: UnitScene['lanes']): Promise<void> {
  start(lanes);
  await each(lanes, (lane) => lane.untilServing());
}

function start(lanes: UnitScene['lanes']): void {
  for (const lane of lanes) lane.start();
}

async function untilServing(lanes: UnitScene['lanes'], sinceMs: number): Promise<Durations> {
  return each(lanes, async (lane) => (await lane.untilServing()) - sinceMs);
}

async function untilStopped(lanes: UnitScene['lanes']): Promise<Durations> {
  const sinceMs = performance.now();
  return each(lanes, async (lane) => {
    await lane.stop();
    return performance.now() - sinceMs;
  });
}

async function each<T>(
  lanes: UnitScene['lanes'],
  act: (lane: UnitLane) => Promise<T>,
): Promise<Record<LaneKind, T>> {
  const results = await Promise.all(lanes.map(async (lane) => [lane.lane, await act(lane)] as const));
  return Object.fromEntries(results) as Record<LaneKind, T>;
}

function kumaDpOf({ lane, mainPid }: UnitLane): number {
  const [child] = childrenOf(mainPid);
  if (lane === 'bare') return mainPid;
  if (child === undefined) throw new Error('The agent has no child');
  return child;
}

/** What runs of other dataplanes left behind: as this one's own file, of other names. */
function leaveStaleFiles(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true });
  const [own] = readdirSync(stateDir).filter((name) => name.endsWith('.json'));
  if (own === undefined) throw new Error(`No state file in ${stateDir}`);
  for (let number = 1; number <= 4; number += 1) {
    const file = join(stateDir, own.replace(/[^~]+\.json$/, `gone-${number}.json`));
    cpSync(join(stateDir, own), file);
    const state = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    writeFileSync(file, renamed(state, `gone-${number}`));
  }
}

/** An unused pid: the run of that name was killed. */
const NO_PID = 4_194_303;

function renamed(state: Readonly<Record<string, unknown>>, name: string): string {
  return JSON.stringify(state, (key, value: unknown) => {
    if (key === 'name') return name;
    return key === 'pid' ? NO_PID : value;
  });
}

async function refusing(): Promise<readonly string[]> {
  return [`http://127.0.0.1:${await refusingPort()}`];
}

async function silent(_world: KumaWorld, disposables: AsyncDisposableStack): Promise<readonly string[]> {
  return [`http://127.0.0.1:${await silentPort(disposables)}`];
}

/** A port that no process listens on: it was in use until now. */
async function refusingPort(): Promise<number> {
  await using server = await occupy();
  return server.port;
}

/** A port that accepts connections and never answers. */
async function silentPort(disposables: AsyncDisposableStack): Promise<number> {
  return disposables.use(await occupy()).port;
}

function occupy(port = 0): Promise<SocketServer> {
  return SocketServer.start(createServer(), { port });
}
