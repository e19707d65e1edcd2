import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { CrashPoint } from '../../../control-plane/departures/crash-points.ts';
import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { crashBuild } from '../../support/replicas/crash-build.ts';
import { ReplicaFleet } from '../../support/replicas/replica-fleet.ts';
import type { ScriptedAgent } from '../../support/replicas/scripted-agent.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { startDatabase } from './database.ts';

let postgres: PostgresServer;
let bin: string;

beforeAll(async () => {
  [postgres, bin] = await Promise.all([startDatabase(), crashBuild()]);
});

afterAll(() => postgres[Symbol.asyncDispose]());

test('two replicas that start at once on an empty database make one schema, and both serve agents', async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 3 });
  const agents = [0, 1, 2].map((at) => fleet.agent(`web-${at}`, { order: [at] }));
  const epochs = await Promise.all(agents.map((agent) => agent.run()));
  expect(new Set(epochs.map(({ epoch }) => epoch)).size).toBe(3);
});

test('the agents of a killed replica attach elsewhere before any grace ends, and keep their epochs', async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 3 });
  fleet.addBystander();
  const agents = Array.from({ length: 12 }, (_, at) => fleet.agent(`web-${at}`, { order: rotated(at % 3) }));
  const first = await Promise.all(agents.map((agent) => agent.run()));
  const silent = fleet.agent('web-silent', { order: [0] });
  await silent.run();
  const orphans = agents.filter((agent) => agent.replica === fleet.replica(0).address);
  // A busy replica may have sent some of its agents to the others, or got some of theirs.
  expect(orphans.length).toBeGreaterThan(0);

  const killedAtMs = performance.now();
  await Promise.all([fleet.replica(0).companion.kill(), silent.crash()]);
  const again = await Promise.all(orphans.map((agent) => agent.waitForEpoch(1)));
  note(
    'from kill -9 of a replica to its agents attached elsewhere',
    again.map(({ atMs }) => atMs - killedAtMs),
  );
  expect(Math.max(...again.map(({ atMs }) => atMs)) - killedAtMs).toBeLessThan(fleet.graceMs);
  expect(again.map(({ epoch }) => epoch)).toEqual(
    orphans.map((agent) => first[agents.indexOf(agent)]?.epoch),
  );

  const deletion = await fleet.waitUntilDeleted(silent);
  note('from an agent and its replica killed together to its deletion', [deletion.atMs - killedAtMs]);
  expect(deletion.atMs - killedAtMs).toBeGreaterThan(fleet.graceMs);
  const other = agents[1];
  const crashedAtMs = performance.now();
  await other?.crash();
  const fallback = await waitUntil(() => fleet.deletions(other?.incarnation)[0], { what: 'the fallback' });
  note('from an agent killed to its deletion', [fallback.atMs - crashedAtMs]);
  expect(fallback.atMs - crashedAtMs).toBeGreaterThan(fleet.graceMs);
  // Silent replicas have been counted by now; no other agent was taken for lost.
  expect(fleet.deletions()).toHaveLength(2);
});

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, each) => sum + each, 0);
}

test('three replicas share 50 departures: each is deleted once', { timeout: 120_000 }, async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 3 });
  fleet.addBystander();
  const agents = Array.from({ length: 50 }, (_, at) => fleet.agent(`web-${at}`, { order: rotated(at % 3) }));
  await Promise.all(agents.map((agent) => agent.run()));
  // No replica can delete for a while: all are due when the control plane is back, and the first replica takes them.
  fleet.controlPlane.faults.add({
    method: 'GET',
    path: '_overview',
    action: { kind: 'answer', status: 503 },
  });
  const answers = await Promise.all(agents.map((agent) => agent.leave()));
  expect(answers.map(({ durable }) => durable)).toEqual(agents.map(() => true));
  await Promise.all(agents.map((agent) => agent.end()));
  fleet.controlPlane.faults.clear();
  await fleet.query('update dataplanes set due_at = 0 where due_at is not null');
  await Promise.all(agents.map((agent) => fleet.waitUntilDeleted(agent)));
  await waitUntil(async () => (await fleet.query('select 1 from dataplanes')).length === 0, {
    what: 'no row to be left',
  });
  expect(agents.map((agent) => fleet.deletions(agent.incarnation).length)).toEqual(agents.map(() => 1));
  expect(fleet.controlPlane.journal.matching('DELETE', /web-/)).toHaveLength(50);
  const endedOf = () => fleet.replicas.map(({ companion }) => companion.seen('departure.ended').length);
  // A replica logs the end after the store has recorded it.
  await waitUntil(() => sumOf(endedOf()) >= 50, { what: 'all replicas to log what they ended' });
  const ended = endedOf();
  expect(sumOf(ended)).toBe(50);
  note('departures ended by each replica', ended);
});

const REQUESTED: readonly CrashPoint[] = [
  'leave.recorded',
  'attempt.read',
  'attempt.body-kept',
  'attempt.sending',
  'attempt.deleted',
  'attempt.recorded',
];

test.concurrent.for(REQUESTED)(
  'another replica finishes a requested departure after a kill at the step %s',
  async (step) => {
    await using fleet = await ReplicaFleet.create(postgres);
    const killed = await fleet.add({ bin, env: { CRASH_AT: step } });
    await fleet.add();
    const agent = fleet.agent('web-1', { order: [0, 1] });
    await agent.run();
    const answer = agent.deregister().catch(() => 'no answer');
    await killed.companion.exited();
    await agent.end();
    await answer;
    expect(await outcomesOf(fleet, agent)).toEqual(ENDED);
  },
);

test.concurrent.for(REQUESTED.slice(1))(
  'another replica finishes a fallback deletion after a kill at the step %s',
  async (step) => {
    await using fleet = await ReplicaFleet.create(postgres, { graceMs: 1_000 });
    fleet.addBystander();
    const killed = await fleet.add({ bin, env: { CRASH_AT: step } });
    const agent = fleet.agent('web-1');
    await agent.run();
    await agent.crash();
    await killed.companion.exited();
    await fleet.add();
    expect(await outcomesOf(fleet, agent)).toEqual(ENDED);
  },
);

const STARTS: readonly CrashPoint[] = ['attach.recorded', 'register.sending', 'register.put'];

test.concurrent.for(STARTS)(
  'an agent whose replica is killed at its start, at the step %s, continues at another one with the same epoch',
  async (step) => {
    await using fleet = await ReplicaFleet.create(postgres);
    const killed = await fleet.add({ bin, env: { CRASH_AT: step } });
    await fleet.add();
    const agent = fleet.agent('web-1', { order: [0, 1] });
    await agent.run();
    await killed.companion.exited();
    await agent.waitForEpoch(agent.epochs.length === 1 ? 0 : 1);
    expect(new Set(agent.epochs.map(({ epoch }) => epoch)).size).toBe(1);
    expect(fleet.holder('web-1')).toBe(agent.incarnation);
    await agent.leave();
    expect(await outcomesOf(fleet, agent)).toEqual(ENDED);
  },
);

test.concurrent('a rolling restart redirects agents, without a departure', async () => {
  await using fleet = await ReplicaFleet.start(postgres, { replicas: 3, graceMs: 1_000 });
  fleet.addBystander();
  const agents = Array.from({ length: 6 }, (_, at) => fleet.agent(`web-${at}`, { order: rotated(at % 3) }));
  await Promise.all(agents.map((agent) => agent.run()));
  for (const { companion, address } of fleet.replicas) {
    const moved = agents.filter((agent) => agent.replica === address);
    const exit = await companion.stop();
    expect(exit).toEqual({ code: 0, signal: null });
    await Promise.all(
      moved.map((agent) =>
        waitUntil(() => agent.epochs.at(-1)?.replica !== address, { what: 'another replica' }),
      ),
    );
    await companion.start();
    await companion.waitUntilReady();
  }
  expect(
    agents.flatMap(({ ends }) => ends).filter((end) => end === 'redirected').length,
  ).toBeGreaterThanOrEqual(6);
  // A stop that counted as a departure would be acted on within the grace.
  await delay(2 * fleet.graceMs);
  expect(fleet.deletions()).toEqual([]);
  expect(agents.map(({ epochs }) => new Set(epochs.map(({ epoch }) => epoch)).size)).toEqual(
    agents.map(() => 1),
  );
  expect(fleet.replicas.flatMap(({ companion }) => companion.seen('agent.lost'))).toEqual([]);
});

/** How its departures ended, once no replica has work left, and how many deletions had an effect. */
async function outcomesOf(fleet: ReplicaFleet, agent: ScriptedAgent): Promise<typeof ENDED> {
  await fleet.waitUntilDeleted(agent);
  const what = 'no row to be left';
  await waitUntil(async () => (await fleet.query('select 1 from dataplanes')).length === 0, { what });
  const departures = await fleet.query(
    `select outcome from departures where incarnation = '${agent.incarnation}'`,
  );
  const outcomes = departures.map((row) => (row as { readonly outcome: string }).outcome);
  const gone = outcomes.filter((outcome) => outcome === 'deleted' || outcome === 'already gone').length;
  return { departures: outcomes.length, gone, deletions: fleet.deletions(agent.incarnation).length };
}

const ENDED = { departures: 1, gone: 1, deletions: 1 };

function rotated(first: number): readonly number[] {
  return [first, (first + 1) % 3, (first + 2) % 3];
}

/** For the documents. */
function note(what: string, times: readonly number[]): void {
  console.log(`${what}: ${times.map((each) => Math.round(each)).join(', ')}`);
}
