import { parseArgs } from 'node:util';

import { historyAt } from './histories.ts';
import { isTolerated } from './run-histories.ts';
import { explain } from './shrink.ts';
import { Simulation } from './simulation.ts';

/** Histories between two lines of progress. */
const BATCH = 1_000;

/**
 * Runs histories for as long as it takes, without a test runner's limits: `npm run simulate -- --from 0 --histories 1000000`.
 * Each violation is printed with its seed and its smallest history, and the run goes on.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { from: { type: 'string', default: '0' }, histories: { type: 'string', default: '10000' } },
  });
  const from = Number(values.from);
  const until = from + Number(values.histories);
  const beganMs = performance.now();
  let found = 0;
  let tolerated = 0;
  Error.stackTraceLimit = 0;
  for (let seed = from; seed < until; seed += 1) {
    const history = historyAt(seed);
    const { violations } = await new Simulation(history).run();
    if (violations.length > 0) {
      if (isTolerated(history, violations)) tolerated += 1;
      else found += 1;
      console.log(await explain(history));
    }
    const done = seed + 1 - from;
    if (done % BATCH === 0 || seed + 1 === until)
      console.log(
        `${done} histories, seeds ${from} to ${seed}: ${found} failed, ${tolerated} mixes sidelined what served, ${seconds(beganMs)} s`,
      );
  }
  process.exitCode = found > 0 ? 1 : 0;
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 1_000);
}

await main();
