import { historyAt } from './histories.ts';
import type { History } from './history.ts';
import { explain } from './shrink.ts';
import { Simulation } from './simulation.ts';
import { SERVED } from './witness-world.ts';

/** So many by default; `HISTORIES` for more, `FROM_SEED` for others. */
const HISTORIES = Number(process.env['HISTORIES'] ?? 200);
const FROM_SEED = Number(process.env['FROM_SEED'] ?? 0);

/** Of the histories of witnesses: a dataplane that serves may be sidelined by two faults at once, but rarely. */
const MOST_SERVED = 0.01;

/** Whether nothing is wrong but what a mix of faults may do. */
export function isTolerated({ witnesses, steps }: History, violations: readonly string[]): boolean {
  return witnesses === true && steps.length > 1 && violations.every((each) => each.startsWith(SERVED));
}

/** Runs one of `of` parts of the histories. @returns what the first that breaks an invariant has to say */
export async function firstViolation({
  part,
  of,
}: {
  readonly part: number;
  readonly of: number;
}): Promise<string | undefined> {
  // The stacks of errors that are part of a history are of no use, and cost a third of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  let ran = 0;
  const tolerated: string[] = [];
  try {
    for (let seed = FROM_SEED + part; seed < FROM_SEED + HISTORIES; seed += of) {
      const history = historyAt(seed);
      if (history.witnesses === true) ran += 1;
      const { violations } = await new Simulation(history).run();
      if (violations.length > 0 && isTolerated(history, violations))
        tolerated.push(`${seed}: ${violations.join('; ')}`);
      else if (violations.length > 0) return await explain(history);
    }
    for (const each of tolerated) console.log(`Seed ${each}`);
    const most = Math.max(1, ran * MOST_SERVED);
    return tolerated.length > most ? `${tolerated.length} of ${ran} sidelined what served` : undefined;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
