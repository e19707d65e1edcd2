import type { History, Step } from './history.ts';
import { Simulation } from './simulation.ts';

/** @returns the smallest history found that still breaks an invariant: without a step, or with shorter waits */
async function shrink(history: History): Promise<History> {
  let smallest = history;
  for (let at = 0; at < smallest.steps.length;) {
    const without = { ...smallest, steps: withoutStep(smallest.steps, at) };
    // oxlint-disable-next-line no-await-in-loop -- each begins with what the last one left
    if (await fails(without)) smallest = without;
    else at += 1;
  }
  for (const [at, step] of smallest.steps.entries()) {
    for (const afterMs of [0, 1_000, 10_000]) {
      const sooner = { ...smallest, steps: smallest.steps.with(at, { ...step, afterMs }) };
      // oxlint-disable-next-line no-await-in-loop -- the shortest first
      if (afterMs >= step.afterMs || !(await fails(sooner))) continue;
      smallest = sooner;
      break;
    }
  }
  return smallest;
}

/** For a person: what went wrong, the history that does it, and what happened in it. */
export async function explain(history: History): Promise<string> {
  const smallest = await shrink(history);
  const { violations, log } = await new Simulation(smallest).run();
  return [
    `Seed ${history.seed}: ${violations.join('; ')}`,
    JSON.stringify(smallest, undefined, 2),
    ...log,
  ].join('\n');
}

/** What came after it comes as late as before. */
function withoutStep(steps: readonly Step[], at: number): readonly Step[] {
  const removed = steps[at];
  return steps.flatMap((step, index) => {
    if (index === at) return [];
    return index === at + 1 ? [{ ...step, afterMs: step.afterMs + (removed?.afterMs ?? 0) }] : [step];
  });
}

async function fails(history: History): Promise<boolean> {
  const { violations } = await new Simulation(history).run();
  return violations.length > 0;
}
