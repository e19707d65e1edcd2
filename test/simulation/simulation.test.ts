import { describe, expect, test } from 'vitest';

import { historyOf, type History } from './history.ts';
import { Simulation } from './simulation.ts';

const CALM: History = { seed: 1, database: 'postgres', planes: 1, steps: [] };

describe('the simulation itself', () => {
  test('attaches every agent of a calm history, connects every dataplane and makes it ready, and nothing else', async () => {
    const { violations, log } = await new Simulation(CALM).run();
    expect(violations).toEqual([]);
    const attached = log.filter((line) => line.includes('agent.attached'));
    expect(new Set(attached.map((line) => /web-\d/.exec(line)?.[0]))).toEqual(
      new Set(['web-0', 'web-1', 'web-2']),
    );
    expect(attached).toHaveLength(3);
    expect(log.filter((line) => line.includes('put ('))).toHaveLength(4);
    expect(log.filter((line) => line.includes('deleted'))).toEqual([]);
  });

  test('gives one history for one seed', async () => {
    const seeds = Array.from({ length: 10 }, (_, seed) => seed);
    for (const seed of seeds) {
      const [first, second] = [new Simulation(historyOf(seed)), new Simulation(historyOf(seed))];
      expect(await first.run()).toEqual(await second.run());
    }
  });
});
