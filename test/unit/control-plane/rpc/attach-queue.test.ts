import { beforeEach, describe, expect, test } from 'vitest';

import { AttachQueue, type QueuedAttach } from '../../../../control-plane/rpc/attach-queue.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

describe('the queue of those that attach', () => {
  let clock: FakeClock;
  let queue: AttachQueue;
  /** In the order in which their turn came. */
  let begun: string[];
  let ends: (() => void)[];

  beforeEach(() => {
    clock = new FakeClock();
    queue = new AttachQueue({ clock, together: 2 });
    begun = [];
    ends = [];
  });

  const enter = async (name: string, given: Partial<QueuedAttach> = {}): Promise<void> => {
    const done = await queue.enter({
      lane: 'other',
      hasGone: () => false,
      onWait: undefined,
      ...given,
    });
    begun.push(done === undefined ? `${name} gone` : name);
    if (done !== undefined) ends.push(done);
  };
  const enterAll = async (names: readonly string[], given: Partial<QueuedAttach> = {}): Promise<void> => {
    for (const name of names) void enter(name, given);
    await clock.settle();
  };
  const end = async (): Promise<void> => {
    ends.shift()?.();
    await clock.settle();
  };

  test('lets as many attach at once as it may, and the others in the order of their arrival', async () => {
    await enterAll(['a', 'b', 'c', 'd']);
    expect(begun).toEqual(['a', 'b']);
    await end();
    await end();
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
    expect(queue.waiting).toBe(0);
  });

  test('agents that are expected go before new ones, and each kind keeps its order', async () => {
    await enterAll(['a', 'b']);
    await enterAll(['new-1', 'new-2']);
    await enterAll(['known-1', 'known-2'], { lane: 'return' });
    for (let left = 4; left > 0; left -= 1) await end();
    expect(begun).toEqual(['a', 'b', 'known-1', 'known-2', 'new-1', 'new-2']);
  });

  test('an agent whose kuma-dp waits for it takes turns with a herd that returns, the newest first', async () => {
    await enterAll(['a', 'b']);
    await enterAll(['back-1', 'back-2', 'back-3'], { lane: 'return' });
    await enterAll(['new-1']);
    await enterAll(['start-1', 'start-2'], { lane: 'start' });
    for (let left = 6; left > 0; left -= 1) await end();
    expect(begun).toEqual(['a', 'b', 'start-2', 'back-1', 'start-1', 'back-2', 'back-3', 'new-1']);
  });

  test('an agent that returns is told a wait that counts the starts between', async () => {
    const said = new Map<string, number>();
    const note = (name: string) => ({ onWait: (withinMs: number) => void said.set(name, withinMs) });
    await enterAll(['a', 'b']);
    await enterAll(
      Array.from({ length: 40 }, (_, at) => `start-${at}`),
      { lane: 'start' },
    );
    await enterAll(
      Array.from({ length: 40 }, (_, at) => `back-${at}`),
      { lane: 'return' },
    );
    for (let ended = 0; ended < 40; ended += 1) {
      clock.advance(100);
      await end();
    }
    await enterAll(['start'], { lane: 'start', ...note('start') });
    await enterAll(['back'], { lane: 'return', ...note('back') });
    expect(said.get('start')).toBeUndefined();
    expect(said.get('back')).toBeGreaterThan(40 * 60);
  });

  test('a caller that has hung up costs no turn', async () => {
    await enterAll(['a', 'b']);
    await enterAll(['gone'], { hasGone: () => true });
    await enterAll(['c']);
    await end();
    expect(begun).toEqual(['a', 'b', 'gone gone', 'c']);
  });

  test('one that comes while others wait does not overtake them', async () => {
    await enterAll(['a', 'b', 'c']);
    ends.shift()?.();
    void enter('d');
    await clock.settle();
    expect(begun).toEqual(['a', 'b', 'c']);
  });

  test('says how long it may take as soon as that is known and worth it, and again only when it grows', async () => {
    const said: number[] = [];
    await enterAll(['a', 'b']);
    await enterAll(Array.from({ length: 400 }, (_, at) => `before-${at}`));
    await enterAll(['waits'], { onWait: (withinMs) => void said.push(withinMs) });
    expect(said).toEqual([]);
    for (let ended = 0; ended < 100; ended += 1) {
      clock.advance(20);
      await end();
    }
    const [first = 0] = said;
    // 301 before it, 20 ms each on average by now, and as much again.
    expect(first).toBeGreaterThan(2_000);
    expect(said.length).toBeLessThanOrEqual(3);
    const promisedMs = clock.monotonicMs() + (said.at(-1) ?? 0);
    while (!begun.includes('waits')) {
      clock.advance(20);
      await end();
    }
    expect(clock.monotonicMs()).toBeLessThanOrEqual(promisedMs);
  });

  test('a caller of an older version gets no wait message, and is served in its turn', async () => {
    await enterAll(['a', 'b', 'c']);
    clock.advance(60_000);
    await end();
    expect(begun).toEqual(['a', 'b', 'c']);
  });
});
