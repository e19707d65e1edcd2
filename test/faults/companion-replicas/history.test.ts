import { expect, test } from 'vitest';

import { judgeHistory, type HistoryEvent, type HistoryViolation } from '../../support/replicas/history.ts';

const RULES = { graceMs: 5_000, slackMs: 1_000, remaining: new Set<string>() };

function at<Kind extends HistoryEvent['kind']>(
  atMs: number,
  incarnation: string,
  event: Omit<Extract<HistoryEvent, { readonly kind: Kind }>, 'name' | 'incarnation' | 'atMs'> & {
    readonly kind: Kind;
  },
): HistoryEvent {
  return { ...event, name: 'web', incarnation, atMs } as unknown as HistoryEvent;
}

function attached(atMs: number, incarnation: string, epoch?: number): HistoryEvent {
  return at(atMs, incarnation, {
    kind: 'attached',
    epoch,
    askedAtMs: atMs - 10,
    leaving: false,
    replica: 'a',
  });
}

const deleted = (atMs: number, incarnation: string): HistoryEvent =>
  at(atMs, incarnation, { kind: 'deleted' });
const put = (atMs: number, incarnation: string, by: 'rest' | 'stream' = 'rest'): HistoryEvent =>
  at(atMs, incarnation, { kind: 'put', by });
const crashed = (atMs: number, incarnation: string): HistoryEvent =>
  at(atMs, incarnation, { kind: 'crashed' });
const requested = (atMs: number, incarnation: string): HistoryEvent =>
  at(atMs, incarnation, { kind: 'requested' });
const cut = (atMs: number, incarnation: string): HistoryEvent => at(atMs, incarnation, { kind: 'cut' });
const rejoined = (atMs: number, incarnation: string): HistoryEvent =>
  at(atMs, incarnation, { kind: 'rejoined' });

interface Planted {
  readonly what: string;
  readonly history: readonly HistoryEvent[];
  readonly remaining?: readonly string[];
  readonly rules: readonly HistoryViolation['rule'][];
}

const PLANTED: readonly Planted[] = [
  {
    what: 'a deletion of an attached incarnation',
    history: [attached(10, 'one', 1), deleted(20, 'one')],
    rules: ['a live epoch was deleted'],
  },
  {
    what: 'a deletion of an incarnation that came back in time',
    history: [
      attached(10, 'one', 1),
      cut(20, 'one'),
      rejoined(4_000, 'one'),
      attached(4_100, 'one', 1),
      deleted(9_000, 'one'),
    ],
    rules: ['a live epoch was deleted'],
  },
  {
    what: 'a deletion of an incarnation that crashed a moment ago',
    history: [attached(10, 'one', 1), crashed(1_000, 'one'), deleted(3_000, 'one')],
    rules: ['a silent one was deleted too early'],
  },
  {
    what: 'a deletion of an incarnation that was cut off a moment ago',
    history: [attached(10, 'one', 1), cut(1_000, 'one'), deleted(3_000, 'one')],
    rules: ['a silent one was deleted too early'],
  },
  {
    what: 'a late deletion of the old epoch that hits the new one',
    history: [
      attached(10, 'one', 1),
      requested(20, 'one'),
      attached(30, 'two', 2),
      put(40, 'two'),
      deleted(50, 'two'),
    ],
    rules: ['a live epoch was deleted'],
  },
  {
    what: 'one epoch for two incarnations',
    history: [attached(10, 'one', 1), attached(20, 'two', 1)],
    rules: ['an epoch was given twice'],
  },
  {
    what: 'an old incarnation that is attached again after a newer one',
    history: [attached(10, 'one', 1), attached(20, 'two', 2), attached(40, 'one', 1)],
    rules: ['an older epoch was attached after a newer one'],
  },
  {
    what: 'an old incarnation that writes over a newer one',
    history: [attached(10, 'one', 1), attached(20, 'two', 2), put(30, 'two'), put(40, 'one')],
    rules: ['an older epoch wrote the object'],
  },
  {
    what: 'a requested departure whose object stays',
    history: [
      attached(10, 'one', 1),
      requested(20, 'one'),
      at(30, 'one', { kind: 'answered', outcome: 'accepted', durable: true }),
    ],
    remaining: ['one'],
    rules: ['a requested departure never ended'],
  },
  {
    what: 'a lost incarnation whose object stays',
    history: [attached(10, 'one', 1), crashed(20, 'one')],
    remaining: ['one'],
    rules: ['a lost one never ended'],
  },
];

test.for(PLANTED)('finds $what', ({ history, remaining = [], rules }) => {
  const { violations } = judgeHistory(history, { ...RULES, remaining: new Set(remaining) });
  expect(violations.map(({ rule }) => rule)).toEqual(rules);
});

const HARMLESS: readonly Omit<Planted, 'rules'>[] = [
  {
    what: 'a departure that was requested',
    history: [attached(10, 'one', 1), requested(20, 'one'), deleted(21, 'one')],
  },
  {
    what: 'a deletion of a lost incarnation after the grace',
    history: [attached(10, 'one', 1), crashed(20, 'one'), deleted(5_100, 'one')],
  },
  {
    what: 'a deletion of an incarnation that was cut off for longer than the grace, up to its new epoch',
    history: [
      attached(10, 'one', 1),
      cut(20, 'one'),
      rejoined(6_000, 'one'),
      deleted(6_010, 'one'),
      attached(6_020, 'one', 2),
      put(6_030, 'one'),
    ],
  },
  {
    what: 'a leftover of an older incarnation, once a newer one has the name',
    history: [attached(10, 'one', 1), put(20, 'one'), attached(30, 'two', 2), deleted(40, 'one')],
  },
  {
    what: 'an old stream’s answer that crosses a newer one’s',
    history: [attached(25, 'two', 2), attached(30, 'one', 1)],
  },
  {
    what: 'an Envoy of an older incarnation that connects once more: its control plane writes, not the companion',
    history: [attached(10, 'one', 1), attached(20, 'two', 2), put(30, 'one', 'stream')],
  },
  {
    what: 'a newer incarnation that makes ready what an older one’s Envoy had just put',
    history: [attached(10, 'one', 1), attached(20, 'two', 2), put(30, 'one', 'stream'), put(40, 'one')],
  },
  {
    what: 'an incarnation that crashed before the companion ever heard of it',
    history: [at(10, 'one', { kind: 'started-unfenced' }), crashed(20, 'one')],
    remaining: ['one'],
  },
  {
    what: 'a departure whose refusal was reported',
    history: [
      attached(10, 'one', 1),
      requested(20, 'one'),
      at(30, 'one', { kind: 'answered', outcome: 'refused', durable: true }),
    ],
    remaining: ['one'],
  },
];

test.for(HARMLESS)('accepts $what', ({ history, remaining = [] }) => {
  const judged = judgeHistory(history, { ...RULES, remaining: new Set(remaining) });
  expect(judged).toEqual({ violations: [], unfencedDeletions: [] });
});

test('distinguishes a deletion of an incarnation that had not waited for an epoch', () => {
  const history = [at(10, 'one', { kind: 'started-unfenced' }), put(20, 'one', 'stream'), deleted(30, 'one')];
  const judged = judgeHistory(history, RULES);
  expect(judged.violations).toEqual([]);
  expect(judged.unfencedDeletions.map(({ rule, atMs }) => [rule, atMs])).toEqual([
    ['a live epoch was deleted', 30],
  ]);
});
