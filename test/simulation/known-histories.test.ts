import { expect, test } from 'vitest';

import { KNOWN_HISTORIES } from './known-histories.ts';
import { Simulation } from './simulation.ts';

test.for(KNOWN_HISTORIES)('%s', async ([, history]) => {
  const { violations } = await new Simulation(history).run();
  expect(violations).toEqual([]);
});
