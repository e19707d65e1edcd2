import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  judgeEntry,
  type EntryVerdict,
  type EntryCase,
} from '../../../../control-plane/evidence/entry.pure.ts';

const GRACE_MS = 15_000;
const NOW_MS = 1_000_000;
const OPEN = {
  epoch: 7,
  incarnation: 'holder',
  state: 'attached',
  serving: true,
  lostAtMs: undefined,
} as const;
const CLEAR: EntryCase = {
  holder: OPEN,
  nowMs: NOW_MS,
  refusedEpoch: undefined,
  newcomer: { owner: 'agent', resource: '{}' },
  departure: undefined,
  graceMs: GRACE_MS,
};
const SUPERSEDED = { cause: 'fallback', outcome: 'superseded' } as const;
const lost = (ms: number) => ({ ...OPEN, state: 'lost', lostAtMs: NOW_MS - ms }) as const;

describe('judgeEntry() of an incarnation that never had the name', () => {
  test.for<{ readonly name: string; readonly given: Partial<EntryCase>; readonly entry: EntryVerdict }>([
    { name: 'no other has it', given: { holder: undefined }, entry: 'enter' },
    { name: 'the record is a sweep’s', given: { holder: { ...OPEN, incarnation: '' } }, entry: 'enter' },
    { name: 'another is attached and serves', given: {}, entry: 'held' },
    {
      name: 'another has not said whether it serves',
      given: { holder: { ...OPEN, serving: undefined } },
      entry: 'held',
    },
    { name: 'another does not serve', given: { holder: { ...OPEN, serving: false } }, entry: 'enter' },
    { name: 'another leaves', given: { holder: { ...OPEN, state: 'leaving' } }, entry: 'enter' },
    { name: 'another is lost, just now', given: { holder: lost(0) }, entry: 'enter' },
    { name: 'the Envoy of the other one refuses', given: { refusedEpoch: 7 }, entry: 'enter' },
    { name: 'the Envoy of an earlier one refused', given: { refusedEpoch: 6 }, entry: 'held' },
    {
      name: 'the control plane creates its object, from a resource that it brings',
      given: { newcomer: { owner: 'cp', resource: '{}' } },
      entry: 'held',
    },
    {
      name: 'it brings nothing that could replace the object',
      given: { newcomer: { owner: 'cp', resource: undefined } },
      entry: 'enter',
    },
  ])('$name: $entry', ({ given, entry }) => {
    expect(judgeEntry({ ...CLEAR, ...given })).toBe(entry);
  });
});

describe('judgeEntry() of an incarnation that had the name before', () => {
  test.for<{ readonly name: string; readonly given: Partial<EntryCase>; readonly entry: EntryVerdict }>([
    { name: 'the newer one is attached', given: {}, entry: 'superseded' },
    { name: 'the newer one starts', given: { holder: { ...OPEN, serving: false } }, entry: 'superseded' },
    { name: 'the newer one leaves', given: { holder: { ...OPEN, state: 'leaving' } }, entry: 'superseded' },
    { name: 'the newer one is over', given: { holder: undefined }, entry: 'enter' },
    {
      name: 'the newer one was lost a moment ago',
      given: { holder: lost(2 * GRACE_MS - 1) },
      entry: 'superseded',
    },
    { name: 'the newer one was lost long ago', given: { holder: lost(2 * GRACE_MS) }, entry: 'enter' },
    { name: 'the clock of the store was set back since', given: { holder: lost(-1) }, entry: 'superseded' },
    {
      name: 'it asked to leave itself, and no other came',
      given: { holder: undefined, departure: { cause: 'requested', outcome: 'deleted' } },
      entry: 'leaving',
    },
    {
      name: 'it asked to leave itself, and another came',
      given: { departure: { cause: 'requested', outcome: 'deleted' } },
      entry: 'superseded',
    },
    {
      name: 'another came while it was leaving, and is over',
      given: { holder: undefined, departure: { cause: 'requested', outcome: 'superseded' } },
      entry: 'superseded',
    },
    {
      name: 'it was only cut off for longer than the grace',
      given: { holder: undefined, departure: { cause: 'fallback', outcome: 'deleted' } },
      entry: 'enter',
    },
  ])('$name: $entry', ({ given, entry }) => {
    expect(judgeEntry({ ...CLEAR, departure: SUPERSEDED, ...given })).toBe(entry);
  });
});

test('while one is attached, serves and is not refused, no other takes its object, whatever else is known', () => {
  const newcomer = fc.record({
    owner: fc.constantFrom('agent' as const),
    resource: fc.option(fc.string(), { nil: undefined }),
  });
  const departure = fc.option(
    fc.record({
      cause: fc.constantFrom('requested' as const, 'fallback' as const, 'sweep' as const),
      outcome: fc.constantFrom(
        'deleted' as const,
        'already gone' as const,
        'refused' as const,
        'superseded' as const,
      ),
    }),
    { nil: undefined },
  );
  fc.assert(
    fc.property(newcomer, departure, fc.integer(), (who, left, nowMs) => {
      const entry = judgeEntry({ ...CLEAR, newcomer: who, departure: left, nowMs });
      expect(entry).not.toBe('enter');
    }),
  );
});
