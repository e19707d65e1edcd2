import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { CrashPoint } from '../../../control-plane/crash-points.ts';
import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { crashBuild } from '../../support/replicas/crash-build.ts';
import { ReplicaFleet, waitUntilPaused } from '../../support/replicas/replica-fleet.ts';
import { startDatabase } from './database.ts';

let postgres: PostgresServer;
let bin: string;

beforeAll(async () => {
  [postgres, bin] = await Promise.all([startDatabase(), crashBuild()]);
});

afterAll(() => postgres[Symbol.asyncDispose]());

const STEPS: readonly CrashPoint[] = ['attempt.read', 'attempt.body-kept', 'attempt.sending'];
const CAUSES = ['announced', 'lost'] as const;
const OWNERS = ['agent', 'cp'] as const;
const PAUSES = STEPS.flatMap((step) => CAUSES.flatMap((cause) => OWNERS.map((owner) => ({ step, cause, owner }))));

test.concurrent.for(PAUSES)(
  'a replica paused at $step of an $cause departure, object put by $owner, deletes nothing of the epoch that came meanwhile',
  async ({ step, cause, owner }) => {
    await using fleet = await ReplicaFleet.create(postgres, { graceMs: 1_000 });
    fleet.addBystander();
    const paused = await fleet.add({ bin, env: { CRASH_AT: `stop:${step}` } });
    const old = fleet.agent('web-1', { owner });
    await old.run();
    const answer = cause === 'announced' ? old.deregister(60_000).catch(() => undefined) : old.crash();
    await waitUntilPaused(paused);
    const pausedAtMs = performance.now();
    await Promise.all([old.end(), answer]);

    await fleet.add();
    const successor = fleet.agent('web-1', { owner, order: [1] });
    const askedAtMs = performance.now();
    successor.start();
    const epoch = await successor.waitForEpoch();
    console.log(step, cause, owner, 'attach waited', Math.round(epoch.atMs - askedAtMs), 'since pause', Math.round(epoch.atMs - pausedAtMs), old.ends);
    await successor.serve();
    paused.companion.continue();
    const woken = await paused.companion.waitForEvent('departure.failed');
    console.log(JSON.stringify(woken).slice(0, 400));
    await delay(1_500);
    expect(fleet.holder('web-1')).toBe(successor.incarnation);
    expect(fleet.deletions(successor.incarnation)).toEqual([]);
  });
