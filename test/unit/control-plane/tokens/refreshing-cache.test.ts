import { describe, expect, test } from 'vitest';

import { RefreshingCache } from '../../../../control-plane/tokens/refreshing-cache.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

/** Good for 100 ms with a value, for 10 ms without. */
function scene() {
  const clock = new FakeClock();
  const loads: string[] = [];
  const world = { answer: (): Promise<string | undefined> => Promise.resolve('one') };
  const cache = new RefreshingCache<string | undefined>({
    clock,
    load: (key) => {
      loads.push(key);
      return world.answer();
    },
    freshMs: (value) => (value === undefined ? 1_000 : 10_000),
    lasts: (value) => value !== undefined,
  });
  return { clock, loads, world, cache };
}

describe('RefreshingCache', () => {
  test('an answer is asked for again when it is not fresh any more', async () => {
    const { clock, loads, world, cache } = scene();
    const found = [await cache.get('a')];
    world.answer = () => Promise.resolve('two');
    clock.advance(9_999);
    found.push(await cache.get('a'));
    clock.advance(1);
    found.push(await cache.get('a'));
    expect({ found, loads, armed: clock.armed }).toEqual({
      found: ['one', 'one', 'two'],
      loads: ['a', 'a'],
      armed: 0,
    });
  });

  test('a caller that wants a younger answer gets one, and no more', async () => {
    const { clock, loads, cache } = scene();
    await cache.get('a');
    clock.advance(2_000);
    await cache.get('a', 2_001);
    await cache.get('a', 2_000);
    await cache.get('a', 2_000);
    expect(loads).toEqual(['a', 'a']);
  });

  test('many callers at once make one request', async () => {
    const { loads, cache } = scene();
    const found = await Promise.all(Array.from({ length: 100 }, () => cache.get('a')));
    expect({ found: new Set(found), loads }).toEqual({ found: new Set(['one']), loads: ['a'] });
  });

  test('while it cannot be asked, the last answer holds however old, and not every caller asks', async () => {
    const { clock, loads, world, cache } = scene();
    await cache.get('a');
    world.answer = () => Promise.reject(new Error('down'));
    clock.advance(86_400_000);
    const found = [await cache.get('a'), await cache.get('a')];
    const during = loads.length;
    clock.advance(2_000);
    world.answer = () => Promise.resolve('two');
    found.push(await cache.get('a'));
    expect({ found, during, loads: loads.length }).toEqual({
      found: ['one', 'one', 'two'],
      during: 2,
      loads: 3,
    });
  });

  test('without an earlier answer the failure is thrown, and kept for a moment', async () => {
    const { clock, loads, world, cache } = scene();
    world.answer = () => Promise.reject(new Error('down'));
    await expect(cache.get('a')).rejects.toThrow('down');
    clock.advance(1_999);
    await expect(cache.get('a')).rejects.toThrow('down');
    expect(loads.length).toBe(1);
    clock.advance(1);
    await expect(cache.get('a')).rejects.toThrow('down');
    expect(loads.length).toBe(2);
  });

  test('a hanging source delays no caller that has an answer, and its answer counts when it comes', async () => {
    const { clock, world, cache } = scene();
    await cache.get('a');
    clock.advance(10_000);
    const late = Promise.withResolvers<string>();
    world.answer = () => late.promise;
    const waiting = cache.get('a');
    await clock.pass(250);
    const meanwhile = await waiting;
    late.resolve('two');
    await clock.settle();
    expect({ meanwhile, after: await cache.get('a'), armed: clock.armed }).toEqual({
      meanwhile: 'one',
      after: 'two',
      armed: 0,
    });
  });

  test('a short-lived answer is dropped, not used as a fallback', async () => {
    const { clock, world, cache } = scene();
    world.answer = () => Promise.resolve(undefined);
    await cache.get('a');
    world.answer = () => Promise.reject(new Error('down'));
    clock.advance(1_000);
    await expect(cache.get('a')).rejects.toThrow('down');
  });

  test("strangers' questions do not pile up", async () => {
    const { clock, world, cache } = scene();
    await cache.get('kept');
    for (let asked = 0; asked < 1_000; asked += 1) {
      world.answer =
        asked % 2 === 0 ? () => Promise.resolve(undefined) : () => Promise.reject(new Error('x'));
      await cache.get(`invented-${asked}`).catch(() => undefined);
    }
    const before = cache.size;
    clock.advance(2_000);
    expect({
      before,
      known: cache.has('kept'),
      stranger: cache.has('invented-1'),
      after: cache.size,
    }).toEqual({
      before: 1_001,
      known: true,
      stranger: false,
      after: 1,
    });
  });
});
