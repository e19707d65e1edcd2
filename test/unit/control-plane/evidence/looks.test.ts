import { describe, expect, test } from 'vitest';

import { offlineMs, sameLook, type DeletionCase } from '../../../../control-plane/evidence/guards.pure.ts';
import { MINE, NOW_MS, THEIRS, ago, shown, stream } from './cases.ts';

describe('sameLook()', () => {
  const look = shown({ labels: MINE, subscriptions: [stream('cp-now', 60_000, 30_000)] });

  test.for<{ readonly name: string; readonly other: DeletionCase['stored']; readonly same: boolean }>([
    { name: 'itself', other: structuredClone(look), same: true },
    { name: 'another label of the user’s', other: { ...look, labels: { ...MINE, app: 'x' } }, same: true },
    { name: 'created anew', other: { ...look, creationTime: ago(1) }, same: false },
    { name: 'written anew', other: { ...look, modificationTime: ago(1) }, same: false },
    { name: 'another incarnation', other: { ...look, labels: THEIRS }, same: false },
    {
      name: 'a stream more',
      other: { ...look, subscriptions: [...look.subscriptions, stream('b', 1)] },
      same: false,
    },
    {
      name: 'a stream that ended',
      other: { ...look, subscriptions: [stream('cp-now', 60_000, 1)] },
      same: false,
    },
    { name: 'a stream fewer', other: { ...look, subscriptions: [] }, same: false },
  ])('$name: $same', ({ other, same }) => {
    expect(sameLook(look, other)).toBe(same);
  });
});

describe('offlineMs()', () => {
  test.for([
    { name: 'no stream', subscriptions: [], offline: undefined },
    { name: 'one that is open', subscriptions: [stream('a', 9), stream('b', 8, 7)], offline: undefined },
    { name: 'the last end counts', subscriptions: [stream('a', 90, 80), stream('b', 70, 60)], offline: 60 },
    { name: 'whatever the order', subscriptions: [stream('b', 70, 60), stream('a', 90, 80)], offline: 60 },
    { name: 'an end ahead of the clock', subscriptions: [stream('a', 90, -5)], offline: 0 },
  ])('$name: $offline', ({ subscriptions, offline }) => {
    expect(offlineMs(shown({ subscriptions }), NOW_MS)).toBe(offline);
  });
});
