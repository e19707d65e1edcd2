import { expect, test } from 'vitest';

import { judgeScene, SCENES, SEEDS } from './witness-scenes.ts';

test.for(Object.entries(SCENES))('%s', async ([, scene]) => {
  for (const seed of SEEDS)
    expect({ seed, wrong: await judgeScene(scene, seed) }).toEqual({ seed, wrong: [] });
});
