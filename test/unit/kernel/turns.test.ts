import { expect, test } from 'vitest';

import { Turns } from '../../../kernel/turns.ts';

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

/** Asks for one turn for each name; `a1` is of the key `a`. */
async function scene(...names: readonly string[]) {
  const turns = new Turns(2);
  const acting: string[] = [];
  const ends = new Map<string, () => void>();
  const ask = async (name: string): Promise<void> => {
    ends.set(name, await turns.begin(name.slice(0, 1)));
    acting.push(name);
  };
  for (const name of names) void ask(name);
  await settle();
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await settle();
  };
  return { turns, acting, ask, end };
}

test('two of one key act at once, the next one takes over the turn that ends, and another key waits for none', async () => {
  const { acting, end } = await scene('a1', 'a2', 'a3', 'a4', 'b1');
  expect(acting).toEqual(['a1', 'a2', 'b1']);
  await end('a2');
  await end('a1');
  expect(acting).toEqual(['a1', 'a2', 'b1', 'a3', 'a4']);
});

test('a turn that is ended twice lets one caller in', async () => {
  const { acting, end } = await scene('a1', 'a2', 'a3', 'a4');
  await end('a1');
  await end('a1');
  expect(acting).toEqual(['a1', 'a2', 'a3']);
});

test('a newcomer does not pass callers that wait, and a key without callers is forgotten', async () => {
  const { turns, acting, ask, end } = await scene('a1', 'a2', 'a3');
  const ended = end('a1');
  void ask('a4');
  await ended;
  await settle();
  expect(acting).toEqual(['a1', 'a2', 'a3']);
  for (const name of ['a2', 'a3', 'a4']) await end(name);
  expect(turns.size).toBe(0);
});
