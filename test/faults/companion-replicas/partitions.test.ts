import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { mend, ReplicaFleet } from '../../support/replicas/replica-fleet.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { startDatabase } from './database.ts';

let postgres: PostgresServer;

beforeAll(async () => {
  postgres = await startDatabase();
});

afterAll(() => postgres[Symbol.asyncDispose]());

/** A replica that is silent at the database for this long counts as dead, in ms. */
const SILENT_MS = 6_000;
const CUTS = ['silence', 'refuse'] as const;

test.concurrent.for(CUTS)(
  'a replica without its database (%s) reports it, continues in memory, and catches up',
  async (kind) => {
    await using fleet = await ReplicaFleet.start(postgres, { replicas: 2 });
    fleet.addBystander();
    const { companion, toDatabase } = fleet.replica(0);
    const leaver = fleet.agent('leaver', { order: [0] });
    const { epoch: before } = await leaver.run();
    await toDatabase.become({ kind });
    await companion.waitForEvent('store.lost');

    const stranger = fleet.agent('stranger', { order: [0] });
    stranger.start();
    const unfenced = await waitUntil(() => stranger.epochs[0], { what: 'an answer' });
    expect(unfenced).toMatchObject({ epoch: undefined, leaving: false });
    const answer = await leaver.deregister(20_000);
    expect(answer).toMatchObject({ outcome: Outcome.DELETED, durable: false });
    expect(fleet.deletions(leaver.incarnation)).toHaveLength(1);
    await leaver.end();

    await mend(toDatabase);
    await companion.waitForEvent('store.found');
    const fenced = await stranger.waitForEpoch();
    expect(fenced.epoch).toBeGreaterThan(before);
    await stranger.serve();
    await waitUntil(
      async () => (await fleet.query("select 1 from dataplanes where name = 'leaver'")).length === 0,
      { what: 'the row of the one that left to go', budgetMs: 60_000 },
    );
    expect(fleet.deletions()).toHaveLength(1);
  },
);

test.concurrent('the agents of a replica without its database attach elsewhere before they count as lost', async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 2 });
  fleet.addBystander();
  // Their Envoys are not connected yet: only their agents' streams show that they live.
  const agents = ['web-1', 'web-2'].map((name) => fleet.agent(name, { order: [0, 1] }));
  for (const agent of agents) {
    agent.start();
    await agent.waitForEpoch();
    await agent.register(false);
  }
  await fleet.replica(0).toDatabase.become({ kind: 'silence' });
  await Promise.all(agents.map((agent) => agent.waitForEpoch(1)));
  expect(agents.map(({ replica }) => replica)).toEqual(agents.map(() => fleet.replica(1).address));
  await delay(SILENT_MS + 2 * fleet.graceMs);
  expect(fleet.deletions()).toEqual([]);
  await mend(fleet.replica(0).toDatabase);
  await fleet.replica(0).companion.waitForEvent('store.found');
  await Promise.all(agents.map((agent) => agent.serve()));
  expect(agents.map(({ epochs }) => new Set(epochs.flatMap(({ epoch }) => epoch ?? [])).size)).toEqual([
    1, 1,
  ]);
  expect(fleet.deletions()).toEqual([]);
});

test.concurrent('another replica finishes a departure that a replica without a control plane cannot finish', async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 2 });
  fleet.addBystander();
  const agent = fleet.agent('web-1', { order: [0] });
  const crashing = fleet.agent('web-2', { order: [0] });
  await Promise.all([agent.run(), crashing.run()]);
  await fleet.replica(0).toControlPlane.become({ kind: 'silence' });
  const answer = await agent.deregister(1_000);
  expect(answer).toMatchObject({ outcome: Outcome.ACCEPTED, durable: true });
  await agent.end();
  const crashedAtMs = performance.now();
  await crashing.crash();
  await fleet.waitUntilDeleted(agent);
  const fallback = await fleet.waitUntilDeleted(crashing);
  expect(fallback.atMs - crashedAtMs).toBeGreaterThan(fleet.graceMs);
  await fleet.replica(1).companion.waitForEvent('departure.ended', { count: 2 });
  expect(fleet.deletions()).toHaveLength(2);
});

test.concurrent('agents that a replica cannot hear any more attach elsewhere, and none is lost', async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 2 });
  fleet.addBystander();
  const agents = ['web-1', 'web-2'].map((name) => fleet.agent(name, { order: [0, 1] }));
  await Promise.all(agents.map((agent) => agent.run()));
  await fleet.replica(0).toAgents.become({ kind: 'silence' });
  await Promise.all(agents.map((agent) => agent.waitForEpoch(1)));
  // The replica notices later, and it is not its business any more.
  await fleet.replica(0).companion.waitForEvent('agent.lost', { count: 2 });
  await delay(2 * fleet.graceMs);
  expect(fleet.deletions()).toEqual([]);
  expect(agents.map(({ epochs }) => new Set(epochs.map(({ epoch }) => epoch)).size)).toEqual([1, 1]);
  expect(await fleet.query("select 1 from dataplanes where state = 'attached'")).toHaveLength(2);
});
