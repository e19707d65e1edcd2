import { describe, expect, test } from 'vitest';

import { DepartureNotes } from '../../../../control-plane/page/departure-notes.ts';
import type { AttemptResult } from '../../../../control-plane/ports.ts';
import { recordOf } from '../../../support/fakes/dataplane-record.ts';

const KEY = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
const ONE = { key: KEY, incarnation: 'one' };
const STEP = { step: 'drain', startMs: 0, durationMs: 5, outcome: 'quiet' };
const ENDED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'deleted' };

describe('DepartureNotes', () => {
  test('joins what was done with what the agent reported of it', () => {
    const notes = new DepartureNotes();
    notes.attempted({ record: recordOf(), result: ENDED });
    notes.reported(ONE, { steps: [STEP] });
    expect(notes.find(ONE)).toEqual({ beganAtMs: 1_000, timeline: { totalMs: 5, steps: [STEP] } });
    expect(notes.find({ ...ONE, incarnation: 'two' })).toBeUndefined();
  });

  test('a silence began when the stream was lost', () => {
    const notes = new DepartureNotes();
    notes.attempted({ record: recordOf({ state: 'lost', lostAtMs: 400 }), result: ENDED });
    expect(notes.find(ONE)).toEqual({ beganAtMs: 400 });
  });

  test('an attempt that is made again is no departure, and a report that says nothing is none', () => {
    const notes = new DepartureNotes();
    notes.attempted({ record: recordOf(), result: { kind: 'later', afterMs: 5, reason: 'not yet' } });
    notes.reported(ONE, 'left out: too long');
    expect(notes.size).toBe(0);
  });

  test('keeps the last 200', () => {
    const notes = new DepartureNotes();
    for (let at = 0; at < 1_000; at += 1)
      notes.reported({ key: KEY, incarnation: String(at) }, { steps: [STEP] });
    expect([
      notes.size,
      notes.find({ key: KEY, incarnation: '799' }),
      notes.find({ key: KEY, incarnation: '800' }),
    ]).toEqual([200, undefined, { timeline: { totalMs: 5, steps: [STEP] } }]);
  });
});
