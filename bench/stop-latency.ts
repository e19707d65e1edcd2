/**
 * From SIGTERM to the DELETE at the control plane: the agent, and the shell wrapper that people write by hand. The
 * agent reads the object first, the shell wrapper does not.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { MeasuredProcess, startControlPlane, type BenchControlPlane } from './measured-process.ts';
import { machine, median, percentile, shuffled, table } from './statistics.ts';
import { agent, AGENT, CHILD_STARTED, ENDPOINT_REACHED, kumaDp, shellWrapper } from './wrappers.ts';

const SAMPLES = 20;
/**
 * How long the contenders run before they are stopped, since Node gets faster with use, and in how many rounds. All
 * agents of the longest trial wait at the same time.
 */
const TRIALS = [
  { ageS: 2, rounds: SAMPLES },
  { ageS: 180, rounds: 1 },
] as const;
/** Pause between two stops, until the process that was stopped first is gone. */
const PAUSE_MS = 200;

interface Contender {
  readonly name: string;
  readonly argv: (stateDir: string) => readonly string[];
  /** The text that it writes when it is ready for a stop. */
  readonly ready: string;
  readonly samplesMs: number[];
}

const workDir = mkdtempSync(join(tmpdir(), 'stop-latency-'));
let stateDirs = 0;
try {
  using controlPlane = await startControlPlane();
  console.log(machine());
  for (const { ageS, rounds } of TRIALS) {
    const pairs = contenders(controlPlane);
    const each = Array.from({ length: SAMPLES / rounds }, () => pairs.flat()).flat();
    for (let round = 0; round < rounds; round += 1) await measure(each, controlPlane, ageS);
    print(pairs, ageS);
  }
  console.log(machine());
} finally {
  rmSync(workDir, { recursive: true });
}

function contenders({ urls }: BenchControlPlane): readonly (readonly [Contender, Contender])[] {
  const child = kumaDp(workDir);
  return (['http', 'https'] as const).map((scheme) => {
    const url = urls[scheme];
    return [
      {
        name: `agent, ${scheme}`,
        argv: (stateDir) => [...agent(AGENT, { url, stateDir }), ...child],
        ready: ENDPOINT_REACHED,
        samplesMs: [],
      },
      {
        name: `sh and curl, ${scheme}`,
        argv: () => [...shellWrapper(url), ...child],
        ready: CHILD_STARTED,
        samplesMs: [],
      },
    ];
  });
}

/** Starts all contenders, waits, and stops them one after the other. */
async function measure(
  all: readonly Contender[],
  controlPlane: BenchControlPlane,
  ageS: number,
): Promise<void> {
  await using running = new AsyncDisposableStack();
  const started: { readonly process: MeasuredProcess; readonly samplesMs: number[] }[] = [];
  for (const { argv, ready, samplesMs } of shuffled(all)) {
    stateDirs += 1;
    const stateDir = join(workDir, String(stateDirs));
    mkdirSync(stateDir);
    const process = running.use(new MeasuredProcess(argv(stateDir)));
    await process.wrote(ready);
    started.push({ process, samplesMs });
  }
  await delay(ageS * 1_000);
  for (const { process, samplesMs } of shuffled(started)) {
    const deletion = controlPlane.nextDeletion();
    const signalledAtNs = process.signal('SIGTERM');
    samplesMs.push(Number((await deletion) - signalledAtNs) / 1e6);
    await process[Symbol.asyncDispose]();
    await delay(PAUSE_MS);
  }
}

function print(pairs: readonly (readonly [Contender, Contender])[], ageS: number): void {
  const rows = pairs.flatMap(([ours, theirs]) =>
    [ours, theirs].map(({ name, samplesMs }) => [
      name,
      median(samplesMs).toFixed(1),
      percentile(samplesMs, 95).toFixed(1),
      (median(samplesMs) / median(theirs.samplesMs)).toFixed(2),
    ]),
  );
  console.log(`SIGTERM to DELETE at the control plane, ${ageS} s after the start, ${SAMPLES} samples each`);
  console.log(table([['', 'median ms', 'p95 ms', '× sh and curl'], ...rows]));
}
