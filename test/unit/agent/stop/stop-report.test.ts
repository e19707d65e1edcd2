import { describe, expect, test } from 'vitest';

import { divideBudget } from '../../../../agent/stop/stop-budget.pure.ts';
import { beginRecord, endNote, finishReport, recordPhase } from '../../../../agent/stop/stop-report.pure.ts';

const STARTED_AT_MS = 10_000;
const DEADLINES = divideBudget(STARTED_AT_MS, 60_000);

describe('stop report', () => {
  test('has one step for each phase of the stop, counted from its beginning', () => {
    let record = beginRecord('signal SIGTERM', DEADLINES);
    const enter = (phase: Parameters<typeof recordPhase>[1], atMs: number, outcome: string): void => {
      record = recordPhase(record, phase, { atMs: STARTED_AT_MS + atMs, outcome });
    };
    enter('deregistering', 0, 'ignored: nothing ended');
    record = recordPhase(record, 'settling', {
      atMs: STARTED_AT_MS + 30.04,
      outcome: 'gone',
      detail: { reason: 'deleted', attempts: 1 },
    });
    enter('draining', 2_280, 'time is up');
    enter('exiting', 2_800, 'quiet');
    enter('confirming', 3_500, 'exit code 0');
    enter('stopped', 3_520, 'gone');
    const report = finishReport(record, {
      stoppedAt: '2026-01-01T00:00:03.520Z',
      dataplane: 'default/web-1',
      incarnation: 'i-1',
      lifecycle: 'cp',
      asked: 1,
      exit: { code: 0, signal: null },
      atMs: STARTED_AT_MS + 3_520,
    });
    expect(report).toEqual({
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
        {
          step: 'deregister',
          startMs: 0,
          durationMs: 30,
          outcome: 'gone',
          detail: { reason: 'deleted', attempts: 1 },
        },
        { step: 'settle', startMs: 30, durationMs: 2_250, outcome: 'time is up' },
        { step: 'drain', startMs: 2_280, durationMs: 520, outcome: 'quiet' },
        { step: 'exit', startMs: 2_800, durationMs: 700, outcome: 'exit code 0' },
        { step: 'confirm', startMs: 3_500, durationMs: 20, outcome: 'gone' },
      ],
      exit: { code: 0, signal: null },
    });
  });

  test('rounds to tenths of a millisecond', () => {
    let record = recordPhase(beginRecord('x', DEADLINES), 'deregistering', {
      atMs: STARTED_AT_MS + 0.123,
      outcome: '',
    });
    record = recordPhase(record, 'stopped', { atMs: STARTED_AT_MS + 1.987, outcome: 'gone' });
    expect(record.steps).toEqual([{ step: 'deregister', startMs: 0.1, durationMs: 1.9, outcome: 'gone' }]);
  });

  test('does not close a step that was never opened', () => {
    const record = recordPhase(beginRecord('x', DEADLINES), 'stopped', { atMs: 1, outcome: 'gone' });
    expect(record).toEqual({ cause: 'x', deadlines: DEADLINES, open: undefined, steps: [] });
  });

  test('says that nothing of the budget is left, never less', () => {
    const { leftMs, totalMs } = finishReport(beginRecord('x', DEADLINES), {
      stoppedAt: '',
      dataplane: '',
      incarnation: '',
      lifecycle: '',
      asked: 1,
      exit: { code: null, signal: 'SIGKILL' },
      atMs: STARTED_AT_MS + 60_100,
    });
    expect({ leftMs, totalMs }).toEqual({ leftMs: 0, totalMs: 60_100 });
  });
});

describe('endNote()', () => {
  const gone = { outcome: 'gone', reason: 'deleted', endpoint: 'https://cp:5682', attempts: 1 } as const;
  const missing = { ...gone, reason: 'already gone' } as const;
  const failed = { outcome: 'failed', reason: 'no answer', endpoint: undefined, attempts: 9 } as const;
  const end = { confirmed: undefined, registered: true, report: undefined };

  test.for<{
    readonly name: string;
    readonly answers: Parameters<typeof endNote>[0];
    readonly change?: Partial<Parameters<typeof endNote>[1]>;
    readonly deregistered: boolean;
    readonly neverStored?: boolean;
  }>([
    { name: 'deleted', answers: [gone], deregistered: true },
    { name: 'failed', answers: [failed], deregistered: false },
    {
      name: 'deleted, and there again at the end',
      answers: [gone],
      change: { confirmed: { outcome: 'left' } },
      deregistered: false,
    },
    { name: 'not asked, with an object', answers: [], deregistered: false },
    { name: 'not asked, without one', answers: [], change: { registered: false }, deregistered: true },
    { name: 'nothing there', answers: [missing], deregistered: true, neverStored: true },
    {
      name: 'nothing there at the second attempt: the answer of the first may be lost',
      answers: [{ ...missing, attempts: 2 }],
      deregistered: true,
    },
    { name: 'deleted for a standby, then nothing there', answers: [gone, missing], deregistered: true },
  ])('$name', ({ answers, change = {}, deregistered, neverStored = false }) => {
    expect(endNote(answers, { ...end, ...change })).toEqual({ phase: 'ended', deregistered, neverStored });
  });
});
