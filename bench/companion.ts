/**
 * Measures the companion: memory and idle CPU with many agents attached; the duration of a storm of departures,
 * against the same DELETEs straight to the same control plane; one Deregister against one DELETE; and how much the
 * store grows.
 * Arguments: how many agents idle (10000) and how many leave at once (2500).
 */
import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import pLimit from 'p-limit';

import { CompanionProcess } from '../test/support/companion-process.ts';
import { ControlPlaneProcess } from '../test/support/kuma/control-plane-process.ts';
import { TemporaryDir } from '../test/support/world/temporary-dir.ts';
import { BenchAgent } from './bench-agent.ts';
import { DirectDeletes } from './direct-deletes.ts';
import { cpuSeconds, residentKb } from './process-usage.ts';
import { machine, median, percentile, table } from './statistics.ts';

const [IDLE = 10_000, LEAVING = 2_500] = process.argv.slice(2).map(Number);
const IDLE_SECONDS = 30;
/** How many agents attach at once: fewer than the companion admits without a token from one address. */
const ATTACHING = 40;
/** How many departures run at once in the companion, and how many DELETEs straight at the control plane. */
const CONCURRENCY = 64;
const ROUNDS = 3;
const SAMPLES = 300;

using dir = new TemporaryDir();
// It writes each change to a file before it answers, as Kuma does to its database.
await using controlPlane = await ControlPlaneProcess.start({ storeFile: dir.join('zone.json') });
console.log(machine());
// Each measurement begins with no agent attached and no departure pending.
await withCompanion('idle', idle);
await withCompanion('latency', latency);
await withCompanion('storm', storm);
console.log(machine());
// Open connections of clients keep the event loop alive, and exiting disposes of nothing.
await controlPlane[Symbol.asyncDispose]();
process.exit();

async function withCompanion(
  name: string,
  measure: (companion: CompanionProcess) => Promise<void>,
): Promise<void> {
  await using companion = await CompanionProcess.start({
    kumaApi: [controlPlane.httpUrl],
    dir: dir.path,
    store: dir.join(`${name}.db`),
    heal: 'off',
  });
  await companion.waitUntilReady();
  await measure(companion);
}

/** Memory of each attached agent, and the CPU that all of them use while nothing happens. */
async function idle(companion: CompanionProcess): Promise<void> {
  const warm = await attach(companion, 200, 'warm');
  hangUp(warm);
  await delay(2_000);
  const beforeKb = residentKb(companion.pid);
  const agents = await attach(companion, IDLE, 'idle');
  await delay(5_000);
  const perAgentKb = (residentKb(companion.pid) - beforeKb) / IDLE;
  const begunS = cpuSeconds(companion.pid);
  await delay(IDLE_SECONDS * 1_000);
  const share = (cpuSeconds(companion.pid) - begunS) / IDLE_SECONDS;
  console.log(`\n${IDLE} agents attached, plain text, pings both ways:`);
  console.log(
    table([
      ['', 'measured', 'aim'],
      ['memory per agent', `${perAgentKb.toFixed(1)} KB`, '≤ 40 KB'],
      ['CPU while idle, of one core', `${(share * 100).toFixed(1)} %`, '< 5 %'],
    ]),
  );
  hangUp(agents);
  await delay(3_000);
}

/** One after the other, alternating, so that a slow minute hits both. */
async function latency(companion: CompanionProcess): Promise<void> {
  const deletes = new DirectDeletes(controlPlane.httpUrl, 1);
  const throughCompanionMs: number[] = [];
  const directMs: number[] = [];
  const agents = await attach(companion, SAMPLES, 'single');
  for (const [at, agent] of agents.entries()) {
    await deletes.put(agent.name);
    throughCompanionMs.push(await timed(() => agent.deregister()));
    const name = `direct-${at}`;
    await deletes.put(name);
    directMs.push(await timed(() => deletes.delete(name)));
  }
  hangUp(agents);
  console.log(`\nOne departure, durable before it is deleted (${SAMPLES} of each):`);
  console.log(
    table([
      ['', 'Deregister', 'DELETE', 'ratio'],
      latencyRow('p50', median(throughCompanionMs), median(directMs)),
      latencyRow('p99', percentile(throughCompanionMs, 99), percentile(directMs, 99)),
    ]),
  );
}

function latencyRow(title: string, ofCompanionMs: number, directMs: number): readonly string[] {
  return [
    title,
    `${ofCompanionMs.toFixed(1)} ms`,
    `${directMs.toFixed(1)} ms`,
    (ofCompanionMs / directMs).toFixed(1),
  ];
}

async function storm(companion: CompanionProcess): Promise<void> {
  const deletes = new DirectDeletes(controlPlane.httpUrl, CONCURRENCY);
  const ratios: number[] = [];
  const rows: (readonly string[])[] = [['round', 'companion', 'straight', 'ratio', 'unanswered']];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const agents = await attach(companion, LEAVING, `storm-${round}`);
    await each(agents, (agent) => deletes.put(agent.name));
    let unanswered = 0;
    const ofCompanionMs = await timed(async () => {
      const answers = await Promise.all(
        agents.map((agent) => agent.deregister().catch(() => 'none' as const)),
      );
      unanswered = answers.filter((answer) => answer === 'none').length;
      await deletes.untilGone(`storm-${round}-`);
    });
    hangUp(agents);
    const names = agents.map(({ name }) => `straight-${name}`);
    await each(names, (name) => deletes.put(name));
    const straightMs = await timed(() => each(names, (name) => deletes.delete(name)));
    const [companionRate, straightRate] = [LEAVING / ofCompanionMs, LEAVING / straightMs].map(
      (perMs) => perMs * 1_000,
    );
    ratios.push((companionRate ?? 0) / (straightRate ?? 1));
    rows.push([
      String(round),
      `${Math.round(companionRate ?? 0)}/s`,
      `${Math.round(straightRate ?? 0)}/s`,
      (ratios.at(-1) ?? 0).toFixed(2),
      String(unanswered),
    ]);
    await delay(2_000);
  }
  console.log(`\n${LEAVING} departures at once, finished per second (aim: ratio ≥ 0.8):`);
  console.log(table(rows));
  console.log(`median ratio ${median(ratios).toFixed(2)}`);
  // Only after its stop does the file contain everything, and the log nothing.
  await companion.stop();
  const storeKb = statSync(companion.store).size / 1_024;
  const departures = ROUNDS * LEAVING;
  console.log(
    `\nStore: ${Math.round(storeKb)} KB after ${departures} departures, ${(storeKb / departures).toFixed(2)} KB each`,
  );
}

async function attach(
  companion: CompanionProcess,
  count: number,
  prefix: string,
): Promise<readonly BenchAgent[]> {
  const agents = Array.from(
    { length: count },
    (_, at) => new BenchAgent(companion.address, `${prefix}-${at}`),
  );
  await each(agents, (agent) => agent.attach(), ATTACHING);
  return agents;
}

function hangUp(agents: readonly BenchAgent[]): void {
  for (const agent of agents) agent.close();
}

async function each<T>(
  items: readonly T[],
  act: (item: T) => Promise<unknown>,
  concurrency = CONCURRENCY,
): Promise<void> {
  const limit = pLimit(concurrency);
  await Promise.all(items.map((item) => limit(() => act(item))));
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  await act();
  return performance.now() - begunMs;
}
