import { historyOf } from './history.ts';
import { explain } from './shrink.ts';
import { Simulation } from './simulation.ts';

/** So many by default; `HISTORIES` for more, `FROM_SEED` for others. */
const HISTORIES = Number(process.env['HISTORIES'] ?? 200);
const FROM_SEED = Number(process.env['FROM_SEED'] ?? 0);

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
  try {
    for (let seed = FROM_SEED + part; seed < FROM_SEED + HISTORIES; seed += of) {
      const history = historyOf(seed);
      const { violations } = await new Simulation(history).run();
      if (violations.length > 0) return await explain(history);
    }
    return undefined;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
