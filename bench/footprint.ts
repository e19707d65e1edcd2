/**
 * Measures a wrapper: the delay until the wrapped command runs, and its idle memory. Compares the agent, a bare Node,
 * tini and a handwritten shell wrapper. Arguments: executables of further agents.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { MeasuredProcess, startControlPlane } from './measured-process.ts';
import { machine, median, percentile, shuffled, table } from './statistics.ts';
import {
  agent,
  AGENT,
  CHILD_STARTED,
  ENDPOINT_REACHED,
  kumaDp,
  NODE,
  shellWrapper,
  tini,
} from './wrappers.ts';

const SPAWN_SAMPLES = 30;
const MEMORY_SAMPLES = 7;
const IDLE_MS = 2_000;
/** The smallest possible wrapper in Node. */
const SPAWN = `require('node:child_process').spawn(process.argv[1], process.argv.slice(2), { stdio: 'inherit' })`;

interface Contender {
  readonly name: string;
  readonly argv: (stateDir: string) => readonly string[];
  /** The text that it writes when everything to be measured has happened. */
  readonly ready: string | undefined;
  readonly spawnMs: number[];
  readonly memory: Readonly<Record<'rss' | 'pss' | 'dirty', number>>[];
}

const workDir = mkdtempSync(join(tmpdir(), 'footprint-'));
let stateDirs = 0;
try {
  using controlPlane = await startControlPlane();
  const { urls } = controlPlane;
  const child = kumaDp(workDir);
  const bare = contender('bare Node', () => [NODE, '-e', 'setInterval(() => {}, 1 << 30)'], undefined);
  const init = tini();
  const agents = [AGENT, ...process.argv.slice(2)].flatMap((program, at) =>
    (['http', 'https'] as const).map((scheme) =>
      contender(
        `agent${at === 0 ? '' : ` ${program}`}, ${scheme}`,
        (stateDir) => [...agent(program, { url: urls[scheme], stateDir }), ...child],
        ENDPOINT_REACHED,
      ),
    ),
  );
  const wrappers = [
    contender('no wrapper', () => child, CHILD_STARTED),
    ...(init === undefined ? [] : [contender('tini', () => [...init, ...child], CHILD_STARTED)]),
    contender('sh and curl', () => [...shellWrapper(urls.https), ...child], CHILD_STARTED),
    contender('Node that only spawns', () => [NODE, '-e', SPAWN, ...child], CHILD_STARTED),
    ...agents,
  ];
  console.log(machine());
  for (let round = 0; round < SPAWN_SAMPLES; round += 1)
    for (const each of shuffled(wrappers)) each.spawnMs.push(await spawnDelay(each));
  printSpawn(wrappers);
  console.log(machine());
  for (let round = 0; round < MEMORY_SAMPLES; round += 1)
    for (const each of shuffled([bare, ...wrappers])) each.memory.push(await idleMemory(each));
  printMemory([bare, ...wrappers.slice(1)], bare);
  if (init === undefined) console.log('tini is not installed: left out');
  console.log(machine());
} finally {
  rmSync(workDir, { recursive: true });
}

function contender(name: string, argv: Contender['argv'], ready: string | undefined): Contender {
  return { name, argv, ready, spawnMs: [], memory: [] };
}

function start({ argv }: Contender): MeasuredProcess {
  stateDirs += 1;
  const stateDir = join(workDir, String(stateDirs));
  mkdirSync(stateDir);
  return new MeasuredProcess(argv(stateDir));
}

async function spawnDelay(wrapper: Contender): Promise<number> {
  await using running = start(wrapper);
  const childAtNs = await running.wrote(CHILD_STARTED);
  // The next one must not run while this one is still starting.
  if (wrapper.ready !== undefined) await running.wrote(wrapper.ready);
  return Number(childAtNs - running.startedAtNs) / 1e6;
}

async function idleMemory({ ready, ...wrapper }: Contender): Promise<Contender['memory'][number]> {
  await using running = start({ ready, ...wrapper });
  if (ready !== undefined) await running.wrote(ready);
  await delay(IDLE_MS);
  return running.memoryKb();
}

function printSpawn(wrappers: readonly Contender[]): void {
  const rows = wrappers.map(({ name, spawnMs }) => [
    name,
    median(spawnMs).toFixed(1),
    percentile(spawnMs, 95).toFixed(1),
  ]);
  console.log(
    `From exec of the wrapper to the first output of the wrapped command, ${SPAWN_SAMPLES} samples each`,
  );
  console.log(table([['', 'median ms', 'p95 ms'], ...rows]));
}

function printMemory(wrappers: readonly Contender[], bare: Contender): void {
  const of = ({ memory }: Contender, field: 'rss' | 'pss' | 'dirty'): number =>
    median(memory.map((sample) => sample[field]));
  const rows = wrappers.map((each) => [
    each.name,
    mb(of(each, 'rss')),
    mb(of(each, 'pss')),
    mb(of(each, 'dirty')),
    (of(each, 'rss') / of(bare, 'rss')).toFixed(2),
  ]);
  console.log(`Memory ${IDLE_MS / 1_000} s after the start, in MB, medians of ${MEMORY_SAMPLES}`);
  console.log(table([['', 'Rss', 'Pss', 'private dirty', 'Rss × bare Node'], ...rows]));
}

function mb(kb: number): string {
  return (kb / 1024).toFixed(1);
}
