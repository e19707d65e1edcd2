import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { ReplicaFleet } from '../../support/replicas/replica-fleet.ts';
import { startDatabase } from './database.ts';

const SHIFTED_CLOCK = join(import.meta.dirname, '../../support/replicas/shifted-clock.ts');
const HOUR_MS = 3_600_000;

let postgres: PostgresServer;

beforeAll(async () => {
  postgres = await startDatabase();
});

afterAll(() => postgres[Symbol.asyncDispose]());

test.concurrent.for([HOUR_MS, -HOUR_MS])(
  'a replica whose clock jumps by %i ms deletes no object too early, and continues its work',
  async (shiftMs) => {
    await using fleet = await ReplicaFleet.create(postgres);
    fleet.addBystander();
    const env = { CLOCK_SHIFT_MS: String(shiftMs) };
    const { companion } = await fleet.add({ env, preload: SHIFTED_CLOCK });
    await fleet.add();
    await fleet.waitUntilAcquainted();
    const [live, other, crashing, leaving] = ['live', 'other', 'crashing', 'leaving'].map((name, at) =>
      fleet.agent(name, { order: at === 1 ? [1, 0] : [0, 1] }),
    );
    if (live === undefined || other === undefined || crashing === undefined || leaving === undefined) return;
    await Promise.all([live, other, crashing, leaving].map((agent) => agent.run()));

    const crashedAtMs = performance.now();
    await crashing.crash();
    process.kill(companion.pid, 'SIGUSR2');
    const { durable } = await leaving.leave();
    expect(durable).toBe(true);
    await fleet.waitUntilDeleted(leaving);
    const lost = await fleet.waitUntilDeleted(crashing);
    expect(lost.atMs - crashedAtMs).toBeGreaterThan(fleet.graceMs);
    await delay(2 * fleet.graceMs);
    const late = fleet.agent('late', { order: [0, 1] });
    await late.run();
    // The clock did jump: the replica dates its lines by it.
    const attached = await companion.waitForEvent('agent.attached', { count: 4 });
    const said = Date.parse(String(attached['time']));
    expect(Math.abs(said - Date.now() - shiftMs)).toBeLessThan(HOUR_MS / 2);
    expect(fleet.deletions()).toHaveLength(2);
    const epochs = [live, other].map((agent) => agent.epochs.map(({ epoch }) => epoch));
    expect(epochs.map((each) => new Set(each).size)).toEqual([1, 1]);
  },
);
