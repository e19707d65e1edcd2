import { describe, expect, test } from 'vitest';

import type { StopReport } from '../../../../agent/stop/stop-report.pure.ts';
import {
  goOnFrom,
  NO_COUNTERS,
  STEP_BOUNDS,
  STEPS,
  STOP_BOUNDS,
  Counters,
  countDeregistration,
  countPacing,
  countRecreation,
  countStop,
} from '../../../../agent/metrics/counters.pure.ts';

const REPORT: StopReport = {
  schema: 1,
  stoppedAt: '2026-01-01T00:00:03.520Z',
  dataplane: 'default/web-1',
  incarnation: 'i-1',
  lifecycle: 'cp',
  cause: 'signal SIGTERM',
  asked: 1,
  budgetMs: 60_000,
  leftMs: 56_480,
  totalMs: 3_520,
  steps: [
    { step: 'deregister', startMs: 0, durationMs: 30, outcome: 'gone' },
    { step: 'settle', startMs: 30, durationMs: 2_250, outcome: 'time is up' },
  ],
  exit: { code: 0, signal: null },
};

/** The counts of a histogram with so many bounds and one duration in this bucket. */
function one(bounds: readonly number[], bucket: number): readonly number[] {
  return [...bounds, Infinity].map((_, at) => (at === bucket ? 1 : 0));
}

function stopped(more: Partial<StopReport>): Counters {
  return countStop(NO_COUNTERS, { ...REPORT, ...more });
}

function endedBy(outcome: string): Partial<StopReport> {
  return { steps: [{ step: 'deregister', startMs: 0, durationMs: 1, outcome }] };
}

function deletedAt(endpoint: string): Counters {
  return countDeregistration(NO_COUNTERS, { outcome: 'gone', reason: 'deleted', endpoint, attempts: 1 });
}

const URLS = ['https://cp:5682', 'grpcs://companion:5690'];

describe('countStop()', () => {
  test('counts a stop, its duration and each of its steps', () => {
    const { stops, budgetsExceeded, stopDurations, stepDurations } = stopped({});
    expect({ stops, budgetsExceeded, stopDurations }).toEqual({
      stops: [{ cause: 'signal', outcome: 'gone', count: 1 }],
      budgetsExceeded: 0,
      stopDurations: { counts: one(STOP_BOUNDS, 3), sumSeconds: 3.52 },
    });
    expect(stepDurations).toEqual({
      ...NO_COUNTERS.stepDurations,
      deregister: { counts: one(STEP_BOUNDS, 2), sumSeconds: 0.03 },
      settle: { counts: one(STEP_BOUNDS, 7), sumSeconds: 2.25 },
    });
  });

  test.for<readonly [why: string, more: Partial<StopReport>, cause: string, outcome: string]>([
    ['no endpoint was told that it ended', { cause: 'kuma-dp exited', steps: [] }, 'crash', 'none'],
    ['it was another run’s', endedBy('kept'), 'signal', 'kept'],
    ['a companion goes on', endedBy('handed over'), 'signal', 'handed_over'],
    ['no endpoint answered', endedBy('failed'), 'signal', 'failed'],
    ['it is unknown how it ended', endedBy('hurried'), 'signal', 'failed'],
  ])('says how it ended: %s', ([, more, cause, outcome]) => {
    expect(stopped(more).stops).toEqual([{ cause, outcome, count: 1 }]);
  });

  test.for([
    [0, 1],
    [0.1, 0],
  ] as const)('with %d ms left, %d budgets are exceeded', ([leftMs, exceeded]) => {
    expect(stopped({ leftMs }).budgetsExceeded).toBe(exceeded);
  });

  test.for([
    [500, 0],
    [500.1, 1],
    [120_000, 10],
    [120_000.1, 11],
  ] as const)('%d ms are in bucket %d: bounds are inclusive', ([totalMs, bucket]) => {
    expect(stopped({ totalMs }).stopDurations.counts).toEqual(one(STOP_BOUNDS, bucket));
  });
});

test.for([
  [{ outcome: 'gone', reason: 'deleted', endpoint: 'https://cp:5682' }, 'deleted', 'https://cp:5682'],
  [
    { outcome: 'gone', reason: 'already gone', endpoint: 'https://cp:5682' },
    'already_gone',
    'https://cp:5682',
  ],
  [{ outcome: 'kept', reason: 'external', endpoint: undefined }, 'kept', ''],
  [{ outcome: 'handed over', reason: 'not yet', endpoint: 'grpcs://c:1' }, 'handed_over', 'grpcs://c:1'],
  [{ outcome: 'failed', reason: 'no answer', endpoint: undefined }, 'failed', ''],
] as const)('countDeregistration() of %o counts %s at "%s"', ([deregistration, result, url]) => {
  const once = countDeregistration(NO_COUNTERS, { ...deregistration, attempts: 1 });
  const twice = countDeregistration(once, { ...deregistration, attempts: 3 });
  expect(once.deregistrations).toEqual([{ url, result, count: 1 }]);
  expect(twice.deregistrations).toEqual([{ url, result, count: 2 }]);
});

describe('goOnFrom()', () => {
  const full = [URLS[0] ?? '', 'https://elsewhere:5682'].reduce(
    (so, url) => countDeregistration(so, { outcome: 'gone', reason: 'deleted', endpoint: url, attempts: 1 }),
    countPacing(countRecreation(countStop(NO_COUNTERS, { ...REPORT, leftMs: 0 })), 1_500),
  );
  const closed = { ...full, open: false };

  test('adds what this run has counted to what the last one left', () => {
    const sum = goOnFrom(closed, full, URLS);
    expect(sum).toEqual({
      schema: 1,
      open: true,
      stops: [{ cause: 'signal', outcome: 'gone', count: 2 }],
      budgetsExceeded: 2,
      stopDurations: { counts: one(STOP_BOUNDS, 3).map((n) => n * 2), sumSeconds: 7.04 },
      stepDurations: {
        ...NO_COUNTERS.stepDurations,
        deregister: { counts: one(STEP_BOUNDS, 2).map((n) => n * 2), sumSeconds: 0.06 },
        settle: { counts: one(STEP_BOUNDS, 7).map((n) => n * 2), sumSeconds: 4.5 },
      },
      deregistrations: [
        { url: 'https://cp:5682', result: 'deleted', count: 2 },
        { url: 'https://elsewhere:5682', result: 'deleted', count: 1 },
      ],
      recreationsUndone: 2,
      startsPaced: 2,
      pacedSeconds: 3,
    } satisfies Counters);
  });

  test('a run that was not ended was killed', () => {
    const { stops } = goOnFrom({ ...closed, open: true }, NO_COUNTERS, URLS);
    expect(stops).toEqual([
      { cause: 'signal', outcome: 'gone', count: 1 },
      { cause: 'killed', outcome: 'unknown', count: 1 },
    ]);
  });

  test('drops endpoints that no longer exist', () => {
    const { deregistrations } = goOnFrom(deletedAt('https://cp:5682'), deletedAt('grpcs://companion:5690'), [
      'grpcs://companion:5690',
    ]);
    expect(deregistrations).toEqual([{ url: 'grpcs://companion:5690', result: 'deleted', count: 1 }]);
  });

  test('is the same again after a file', () => {
    const sum = goOnFrom(closed, full, URLS);
    expect(Counters.parse(JSON.parse(JSON.stringify(sum)))).toEqual(sum);
  });
});

test.for([
  ['another schema', { schema: 2 }],
  ['other buckets', { stopDurations: { counts: [1, 2], sumSeconds: 3 } }],
  ['a count below zero', { budgetsExceeded: -1 }],
  ['a cause that there is not', { stops: [{ cause: 'boredom', outcome: 'gone', count: 1 }] }],
] as const)('Counters refuses %s', ([, wrong]) => {
  expect(Counters.safeParse({ ...NO_COUNTERS, ...wrong }).success).toBe(false);
});

test('there is a histogram for every step', () => {
  expect(Object.keys(NO_COUNTERS.stepDurations)).toEqual([...STEPS]);
});
