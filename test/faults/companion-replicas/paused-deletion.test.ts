import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { CrashPoint } from '../../../control-plane/departures/crash-points.ts';
import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { crashBuild } from '../../support/replicas/crash-build.ts';
import {
  ReplicaFleet,
  waitUntilPaused,
  type Replica,
  type ReplicaOptions,
} from '../../support/replicas/replica-fleet.ts';
import type { Epoch, ScriptedAgent } from '../../support/replicas/scripted-agent.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { startDatabase } from './database.ts';

/** `STORE_LIMITS`, in ms: how long the paused process assumes that it has the name, and how long it has it. */
const LEASE_MS = 5_000;
const SESSION_MS = 8_000;
/** How long an agent waits for its epoch before it starts without one. */
const START_BUDGET_MS = 1_000;
const STOP_BEFORE_DELETE = join(import.meta.dirname, '../../support/replicas/stop-before-delete.ts');

let postgres: PostgresServer;
let bin: string;

beforeAll(async () => {
  [postgres, bin] = await Promise.all([startDatabase(), crashBuild()]);
});

afterAll(() => postgres[Symbol.asyncDispose]());

type Cause = 'requested' | 'lost';
type Owner = 'agent' | 'cp';

interface Pause {
  readonly fleet: ReplicaFleet;
  readonly paused: Replica;
  readonly old: ScriptedAgent;
  /** Attaches at the other replica. */
  readonly successor: ScriptedAgent;
  readonly pausedAtMs: number;
}

/** A replica that stopped itself in the middle of a deletion, and a successor that wants the name at another one. */
async function pauseDeletion(
  cause: Cause,
  owner: Owner,
  options: ReplicaOptions,
): Promise<Pause & AsyncDisposable> {
  await using parts = new AsyncDisposableStack();
  const fleet = parts.use(await ReplicaFleet.create(postgres, { graceMs: 1_000 }));
  fleet.addBystander();
  const paused = await fleet.add(options);
  // Another one could take a lost one's deletion; a requested one is tried first where it was requested.
  if (cause === 'requested') await fleet.add();
  const old = fleet.agent('web-1', { owner, order: [0] });
  await old.run();
  const answer = cause === 'requested' ? old.deregister(60_000).catch(() => undefined) : old.crash();
  await waitUntilPaused(paused);
  const pausedAtMs = performance.now();
  await Promise.all([old.end(), answer]);
  if (cause === 'lost') await fleet.add();
  const successor = fleet.agent('web-1', { owner, order: [1] });
  const kept = parts.move();
  return { fleet, paused, old, successor, pausedAtMs, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** It does its work again: whatever it had begun before is over. */
async function expectBackAtWork({ fleet, paused }: Pause): Promise<void> {
  paused.companion.continue();
  await paused.companion.waitUntilReady();
  const probe = fleet.agent('probe', { order: [0] });
  await probe.run();
  await probe.leave();
  await fleet.waitUntilDeleted(probe);
  await probe.end();
}

/** Nothing of the successor, and nothing since it has its epoch: until then another replica may finish the old departure. */
function expectOnlyEarlyDeletions({ fleet, old, successor }: Pause, { atMs: sinceMs }: Epoch): void {
  expect(fleet.deletions(successor.incarnation)).toEqual([]);
  expect(fleet.deletions(old.incarnation).filter(({ atMs }) => atMs >= sinceMs)).toEqual([]);
}

const STEPS: readonly CrashPoint[] = ['attempt.read', 'attempt.body-kept', 'attempt.sending'];
const PAUSES = STEPS.flatMap((step, at) => [
  { step, cause: 'requested', owner: at % 2 === 0 ? 'agent' : 'cp' } as const,
  { step, cause: 'lost', owner: at % 2 === 0 ? 'cp' : 'agent' } as const,
]);

test.concurrent.for(PAUSES)(
  'a replica that is paused at $step of an $cause departure, put by $owner, deletes nothing of the epoch that came meanwhile',
  async ({ step, cause, owner }) => {
    await using pause = await pauseDeletion(cause, owner, { bin, env: { CRASH_AT: `stop:${step}` } });
    const { fleet, successor, pausedAtMs } = pause;
    successor.start();
    const epoch = await successor.waitForEpoch();
    note(`Attach of the same name waits, from the pause at ${step}`, epoch.atMs - pausedAtMs);
    await successor.serve();
    await expectBackAtWork(pause);
    expect(fleet.holder('web-1')).toBe(successor.incarnation);
    expectOnlyEarlyDeletions(pause, epoch);
  },
);

test.concurrent('a replica that wakes while its lock is good deletes the old epoch’s object, and the new one waits', async () => {
  await using pause = await pauseDeletion('requested', 'agent', {
    bin,
    env: { CRASH_AT: 'stop:attempt.sending' },
  });
  const { fleet, paused, old, successor, pausedAtMs } = pause;
  successor.start();
  await delay(Math.max(0, pausedAtMs + LEASE_MS * 0.6 - performance.now()));
  expect(successor.epochs).toEqual([]);
  paused.companion.continue();
  const deletion = await fleet.waitUntilDeleted(old);
  const epoch = await successor.waitForEpoch();
  expect(epoch.atMs).toBeGreaterThan(deletion.atMs);
  await successor.serve();
  await expectBackAtWork(pause);
  expect(fleet.deletions(successor.incarnation)).toEqual([]);
});

test.concurrent('a replica that wakes after its lease gives up, although PostgreSQL still holds the name for it', async () => {
  await using pause = await pauseDeletion('requested', 'agent', {
    bin,
    env: { CRASH_AT: 'stop:attempt.sending' },
  });
  const { paused, successor, pausedAtMs } = pause;
  successor.start();
  await delay(Math.max(0, pausedAtMs + (LEASE_MS + SESSION_MS) / 2 - performance.now()));
  expect(successor.epochs).toEqual([]);
  paused.companion.continue();
  const failed = await paused.companion.waitForEvent('departure.failed');
  expect(failed).toMatchObject({ err: { code: 'FENCE_LOST' } });
  const epoch = await successor.waitForEpoch();
  await successor.serve();
  await expectBackAtWork(pause);
  expectOnlyEarlyDeletions(pause, epoch);
});

/** In ms: a replica's healer looks every 15 s, twice, and acts only after it has been up for 15 s. */
const HEALED_WITHIN_MS = 45_000;

test.concurrent('a replica that is paused just before it writes its DELETE deletes the new epoch’s object, and the object is put back', async () => {
  await using pause = await pauseDeletion('requested', 'agent', { preload: STOP_BEFORE_DELETE });
  const { fleet, paused, successor } = pause;
  await successor.run();
  const wokenAtMs = performance.now();
  paused.companion.continue();
  // Kuma deletes unconditionally: a check from before the pause does not count after it.
  await fleet.waitUntilDeleted(successor);
  expect(await healed(pause, wokenAtMs)).toHaveLength(1);
});

test.concurrent('the old deletion can hit a successor that did not wait for its epoch, and its object is put back', async () => {
  await using pause = await pauseDeletion('requested', 'cp', {
    bin,
    env: { CRASH_AT: 'stop:attempt.sending' },
  });
  const { fleet, paused, successor } = pause;
  successor.start();
  await delay(START_BUDGET_MS);
  expect(successor.epochs).toEqual([]);
  await successor.serveUnfenced();
  const wokenAtMs = performance.now();
  paused.companion.continue();
  await fleet.waitUntilDeleted(successor);
  await successor.waitForEpoch();
  expect(await healed(pause, wokenAtMs)).toHaveLength(1);
});

/** @returns deletions of the successor, once its object is back */
async function healed({ fleet, successor }: Pause, wokenAtMs: number): Promise<readonly unknown[]> {
  const what = 'the object to be put back';
  const isBack = (): boolean => fleet.holder('web-1') === successor.incarnation;
  await waitUntil(isBack, { what, budgetMs: HEALED_WITHIN_MS });
  note('from the deletion of a live object to its return', performance.now() - wokenAtMs);
  await fleet.replica(1).companion.waitForEvent('dataplane.healed');
  return fleet.deletions(successor.incarnation);
}

/** For the documents. */
function note(what: string, durationMs: number): void {
  console.log(`${what}: ${Math.round(durationMs)} ms`);
}
