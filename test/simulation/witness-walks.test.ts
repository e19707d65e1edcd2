import { expect, test } from 'vitest';

import { judgeWalk, WALKS } from './witness-walks.ts';

test.for(Object.entries(WALKS))('%s', async ([, walk]) => {
  expect(await judgeWalk(walk)).toEqual([]);
});
