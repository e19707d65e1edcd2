import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { CrashPoint } from '../../../control-plane/crash-points.ts';
import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { crashBuild } from '../../support/replicas/crash-build.ts';
import {
  ReplicaFleet,
  waitUntilPaused,
  type Replica,
  type ReplicaOptions,
} from '../../support/replicas/replica-fleet.ts';
import type { ScriptedAgent } from '../../support/replicas/scripted-agent.ts';
import { startDatabase } from './database.ts';

/** `STORE_LIMITS`, in ms: the paused process believes for so long that it has the name, and has it for so long. */
const LEASE_MS = 5_000;
const SESSION_MS = 8_000;
const STOP_BEFORE_DELETE = join(import.meta.dirname, '../../support/replicas/stop-before-delete.ts');

let postgres: PostgresServer;
let bin: string;

beforeAll(async () => {
  [postgres, bin] = await Promise.all([startDatabase(), crashBuild()]);
});

afterAll(() => postgres[Symbol.asyncDispose]());

type Cause = 'announced' | 'lost';
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
  const old = fleet.agent('web-1', { owner });
  await old.run();
  const answer = cause === 'announced' ? old.deregister(60_000).catch(() => undefined) : old.crash();
  await waitUntilPaused(paused);
  const pausedAtMs = performance.now();
  await Promise.all([old.end(), answer]);
  await fleet.add();
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

const STEPS: readonly CrashPoint[] = ['attempt.read', 'attempt.body-kept', 'attempt.sending'];
const PAUSES = STEPS.flatMap((step, at) => [
  { step, cause: 'announced', owner: at % 2 === 0 ? 'agent' : 'cp' } as const,
  { step, cause: 'lost', owner: at % 2 === 0 ? 'cp' : 'agent' } as const,
]);

test.concurrent.for(PAUSES)(
  'paused at $step of an $cause departure, put by $owner, it deletes nothing of the epoch that came meanwhile',
  async ({ step, cause, owner }) => {
    await using pause = await pauseDeletion(cause, owner, { bin, env: { CRASH_AT: `stop:${step}` } });
    const { fleet, successor, old, pausedAtMs } = pause;
    successor.start();
    const { atMs } = await successor.waitForEpoch();
    console.log(step, cause, owner, 'attached since pause', Math.round(atMs - pausedAtMs));
    await successor.serve();
    await expectBackAtWork(pause);
    expect(fleet.holder('web-1')).toBe(successor.incarnation);
    expect([...fleet.deletions(successor.incarnation), ...fleet.deletions(old.incarnation)]).toEqual([]);
  },
);

test.concurrent('woken while its hold is good, it deletes what is still the old epoch’s, and the new one waits', async () => {
  await using pause = await pauseDeletion('announced', 'agent', {
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

test.concurrent('woken after its lease, while PostgreSQL still holds the name for it, it gives up', async () => {
  await using pause = await pauseDeletion('announced', 'agent', {
    bin,
    env: { CRASH_AT: 'stop:attempt.sending' },
  });
  const { fleet, paused, old, successor, pausedAtMs } = pause;
  successor.start();
  await delay(Math.max(0, pausedAtMs + (LEASE_MS + SESSION_MS) / 2 - performance.now()));
  expect(successor.epochs).toEqual([]);
  paused.companion.continue();
  const failed = await paused.companion.waitForEvent('departure.failed');
  expect(failed).toMatchObject({ err: { code: 'FENCE_LOST' } });
  await successor.waitForEpoch();
  await successor.serve();
  await expectBackAtWork(pause);
  expect([...fleet.deletions(successor.incarnation), ...fleet.deletions(old.incarnation)]).toEqual([]);
});

test('EXPERIMENT c', async () => {
  await using pause = await pauseDeletion('announced', 'agent', {
    env: { NODE_OPTIONS: `--import ${STOP_BEFORE_DELETE}` },
  });
  const { fleet, paused, old, successor, pausedAtMs } = pause;
  successor.start();
  const { atMs } = await successor.waitForEpoch();
  console.log('C attached since pause', Math.round(atMs - pausedAtMs));
  await successor.serve();
  const woken = performance.now();
  paused.companion.continue();
  await delay(2_000);
  console.log(
    'C deletions',
    JSON.stringify(
      fleet.deletions().map((d) => [d.incarnation === old.incarnation ? 'old' : 'successor', d.atMs - woken]),
    ),
    fleet.holder('web-1') === successor.incarnation,
  );
  const at = performance.now();
  while (fleet.holder('web-1') === undefined && performance.now() - at < 50_000) await delay(20);
  console.log(
    'C back after',
    performance.now() - woken,
    fleet.holder('web-1') === successor.incarnation,
    JSON.stringify(fleet.replica(1).companion.seen('dataplane.healed')),
  );
});

test('EXPERIMENT d', async () => {
  await using pause = await pauseDeletion('announced', 'cp', {
    bin,
    env: { CRASH_AT: 'stop:attempt.sending' },
  });
  const { fleet, paused, old, successor, pausedAtMs } = pause;
  successor.start();
  await delay(1_000);
  await successor.serveUnfenced();
  console.log('D unfenced start at', performance.now() - pausedAtMs, successor.epochs.length);
  paused.companion.continue();
  const woken = performance.now();
  await delay(1_000);
  console.log(
    'D deletions',
    JSON.stringify(
      fleet.deletions().map((d) => [d.incarnation === old.incarnation ? 'old' : 'successor', d.atMs - woken]),
    ),
    fleet.holder('web-1') === successor.incarnation,
    successor.epochs.length,
  );
  const at = performance.now();
  while (fleet.holder('web-1') === undefined && performance.now() - at < 50_000) await delay(20);
  console.log(
    'D back after',
    performance.now() - woken,
    fleet.holder('web-1') === successor.incarnation,
    JSON.stringify(fleet.replica(1).companion.seen('dataplane.healed')),
  );
});
