import { expect, test } from 'vitest';

import { Pace } from '../../../kernel/pace.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function scene() {
  const clock = new FakeClock();
  const pace = new Pace(clock, { everyMs: 20, longestMs: 100 });
  const done: string[] = [];
  const ask = (name: string, key: string): void => {
    void pace.turn(key).then(() => done.push(name));
  };
  const after = async (ms: number): Promise<string> => {
    clock.advance(ms);
    await Promise.resolve();
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    return done.splice(0).join(' ');
  };
  return { clock, pace, ask, after };
}

test('a key that asks now and then waits for nothing, one that asks faster gets its pace, others are not held up', async () => {
  const { ask, after } = scene();
  ask('1', 'a');
  ask('2', 'a');
  ask('3', 'a');
  ask('4', 'b');
  expect(await after(0)).toBe('1 4');
  expect(await after(20)).toBe('2');
  expect(await after(20)).toBe('3');
  ask('5', 'a');
  expect(await after(19)).toBe('');
  expect(await after(1)).toBe('5');
});

test('a turn comes after the longest wait at the latest', async () => {
  const { ask, after } = scene();
  for (let each = 0; each < 50; each += 1) ask(String(each), 'a');
  await after(0);
  for (let step = 0; step < 5; step += 1) await after(20);
  ask('last', 'a');
  expect(await after(100)).toBe('last');
});

test('nothing is remembered of keys whose turns are over', async () => {
  const { clock, pace, ask, after } = scene();
  for (let each = 0; each < 50; each += 1) ask('x', `key-${each}`);
  expect(pace.size).toBe(50);
  await after(40);
  ask('x', 'a');
  expect(pace.size).toBe(1);
  await after(40);
  expect(clock.armed).toBe(0);
});
