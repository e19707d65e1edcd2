import { expect, test } from 'vitest';

import { judgeScene, SCENES } from './witness-scenes.ts';

const SEEDS = [1, 2, 3, 4, 5, 6];

test.for(Object.entries(SCENES))('%s', async ([, scene]) => {
  for (const seed of SEEDS)
    expect({ seed, wrong: await judgeScene(scene, seed) }).toEqual({ seed, wrong: [] });
});
