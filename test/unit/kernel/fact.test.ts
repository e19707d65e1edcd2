import { expect, test } from 'vitest';

import { Fact } from '../../../kernel/fact.ts';

const FIRST = { name: 'first' };
const SECOND = { name: 'second' };

test('callers from before and after it became known get the first value', async () => {
  const fact = new Fact<typeof FIRST>();
  const early = fact.known;
  expect(fact.value).toBeUndefined();
  fact.set(FIRST);
  fact.set(SECOND);
  expect(fact.value).toBe(FIRST);
  expect(await early).toBe(FIRST);
  expect(await fact.known).toBe(FIRST);
});
