import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { judgeHistory } from '../../support/replicas/history.ts';
import { ReplicaFleet } from '../../support/replicas/replica-fleet.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { startDatabase } from './database.ts';

/** Longer than any hold, any lease and the time after which a silent replica is given up. */
const AWAY_MS = 10_000;

test.concurrent('agents attach and leave although PostgreSQL is away for 10 s; no other object is deleted, and all work resumes', async () => {
  await using postgres = await startDatabase();
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 3 });
  fleet.addBystander();
  const agents = Array.from({ length: 6 }, (_, at) =>
    fleet.agent(`web-${at}`, { order: [at % 3, (at + 1) % 3] }),
  );
  const epochs = await Promise.all(agents.map((agent) => agent.run()));
  const [leaver, crashing, ...stayers] = agents;
  await postgres.stop('immediate');
  const goneAtMs = performance.now();
  await fleet.replica(0).companion.waitForEvent('store.lost');
  await crashing?.crash();
  const late = fleet.agent('late');
  late.start();
  const unfenced = await waitUntil(() => late.epochs[0], { what: 'an answer' });
  expect(unfenced.epoch).toBeUndefined();
  expect(await leaver?.deregister(20_000)).toMatchObject({ outcome: Outcome.DELETED, durable: false });
  await leaver?.end();
  await delay(Math.max(0, goneAtMs + AWAY_MS - performance.now()));
  expect(fleet.deletions().map(({ incarnation }) => incarnation)).toEqual([leaver?.incarnation]);

  const backAtMs = performance.now();
  await postgres.resume();
  const fenced = await late.waitForEpoch();
  expect(fenced.epoch).toBeGreaterThan(Math.max(...epochs.map(({ epoch }) => epoch)));
  await Promise.all(fleet.replicas.map(({ companion }) => companion.waitForEvent('store.found')));
  const fallback = await waitUntil(() => fleet.deletions(crashing?.incarnation)[0], {
    what: 'the fallback',
    budgetMs: 60_000,
  });
  expect(fallback.atMs).toBeGreaterThan(backAtMs);
  await late.serve();
  await waitUntil(
    async () => (await fleet.query("select 1 from dataplanes where state <> 'attached'")).length === 0,
    { what: 'all work to be done' },
  );
  expect(fleet.deletions()).toHaveLength(2);
  expect(stayers.map((agent) => fleet.holder(agent.name))).toEqual(
    stayers.map(({ incarnation }) => incarnation),
  );
  const kept = stayers.map((agent) => new Set(agent.epochs.flatMap(({ epoch }) => epoch ?? [])).size);
  expect(kept).toEqual(stayers.map(() => 1));
});

test.concurrent(
  'every departure of 30 agents takes effect once although PostgreSQL crashes again and again and 10 agents come',
  { timeout: 120_000 },
  async () => {
    await using postgres = await startDatabase();
    await using fleet = await ReplicaFleet.start(postgres, { replicas: 2 });
    fleet.addBystander();
    const agents = Array.from({ length: 30 }, (_, at) =>
      fleet.agent(`web-${at}`, { order: [at % 2, (at + 1) % 2] }),
    );
    await Promise.all(agents.map((agent) => agent.run()));
    const leaving = Promise.all(
      agents.map(async (agent, at) => {
        await delay(at * 100);
        await agent.leave();
        await agent.end();
      }),
    );
    const successors = agents.slice(0, 10).map(({ name }) => fleet.agent(name, { order: [1, 0] }));
    const coming = Promise.all(
      successors.map(async (agent, at) => {
        await delay(at * 300);
        await agent.run();
      }),
    );
    for (let crash = 0; crash < 4; crash += 1) {
      await delay(500);
      await postgres.stop('immediate');
      await delay(100);
      await postgres.resume();
    }
    await Promise.all([leaving, coming]);
    await waitUntil(
      async () => (await fleet.query("select 1 from dataplanes where state <> 'attached'")).length === 0,
      { what: 'all work to be done', budgetMs: 60_000 },
    );
    const remaining = new Set(agents.flatMap(({ name }) => fleet.holder(name) ?? []));
    const judged = judgeHistory(fleet.events, { graceMs: fleet.graceMs, slackMs: 3_000, remaining });
    expect(judged).toEqual({ violations: [], unfencedDeletions: [] });
    expect(successors.map(({ name }) => fleet.holder(name))).toEqual(
      successors.map(({ incarnation }) => incarnation),
    );
  },
);
