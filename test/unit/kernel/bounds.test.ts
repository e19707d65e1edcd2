import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { Bounds, RateBounds, type Caller } from '../../../kernel/bounds.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const MOST = { subject: 2, address: 3, all: 5 };

const caller = (subject: string | undefined, address: string): Caller => ({ subject, address });

describe('Bounds', () => {
  test('a caller meets the bound of its subject first, then that of its address, then that of all', () => {
    const bounds = new Bounds(MOST);
    const outcome = (subject: string | undefined, address: string): string => {
      const grant = bounds.take(caller(subject, address));
      return 'refused' in grant ? grant.refused : 'taken';
    };
    expect([outcome('a', '1'), outcome('a', '1'), outcome('a', '1')]).toEqual(['taken', 'taken', 'subject']);
    expect([outcome('b', '1'), outcome('b', '1')]).toEqual(['taken', 'address']);
    expect([outcome(undefined, '1')]).toEqual(['address']);
    expect([outcome('c', '2'), outcome(undefined, '2'), outcome('d', '3')]).toEqual([
      'taken',
      'taken',
      'all',
    ]);
    expect(bounds.held).toBe(5);
  });

  test('what is given back, once or often, counts once; nothing is remembered of who holds nothing', () => {
    const actions = fc.array(
      fc.record({
        subject: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
        address: fc.constantFrom('1', '2', '3'),
        release: fc.nat(),
      }),
    );
    fc.assert(
      fc.property(actions, (steps) => {
        const bounds = new Bounds(MOST);
        const held: { readonly by: Caller; readonly release: () => void }[] = [];
        for (const { subject, address, release } of steps) {
          const by = caller(subject, address);
          const grant = bounds.take(by);
          if ('refused' in grant) {
            const [gone] = held.splice(release % Math.max(1, held.length), 1);
            gone?.release();
            gone?.release();
          } else held.push({ by, release: grant.release });
          expect(bounds.held).toBe(held.length);
          expect(held.length).toBeLessThanOrEqual(MOST.all);
          for (const key of ['1', '2', '3'])
            expect(held.filter(({ by: one }) => one.address === key).length).toBeLessThanOrEqual(
              MOST.address,
            );
          for (const key of ['a', 'b', 'c'])
            expect(held.filter(({ by: one }) => one.subject === key).length).toBeLessThanOrEqual(
              MOST.subject,
            );
        }
        for (const { release } of held) release();
        expect([bounds.held, bounds.remembered]).toEqual([0, 0]);
      }),
    );
  });
});

describe('RateBounds', () => {
  test('what was used counts until its span is over, which begins with the first use', () => {
    const clock = new FakeClock();
    const rates = new RateBounds(clock, 1_000, MOST);
    clock.advance(5_500);
    const use = (): string => rates.use(caller('a', '1')) ?? 'ok';
    expect([use(), use(), use()]).toEqual(['ok', 'ok', 'subject']);
    clock.advance(999);
    expect(use()).toBe('subject');
    clock.advance(1);
    expect(use()).toBe('ok');
  });
});
