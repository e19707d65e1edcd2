import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { readStopTimeline } from '../../../../control-plane/page/stop-steps.pure.ts';

const SETTLE = { step: 'settle', startMs: 96.4, durationMs: 3_000, outcome: 'waited' };

describe('readStopTimeline()', () => {
  test('keeps the steps of a stop, and no more than is drawn of them', () => {
    const report = {
      schema: 1,
      dataplane: 'default/web-1',
      totalMs: 3_200,
      steps: [
        { step: 'deregister', startMs: 0, durationMs: 96.4, outcome: 'gone', detail: { reason: 'deleted' } },
        SETTLE,
      ],
    };
    expect(readStopTimeline(report)).toEqual({
      totalMs: 3_200,
      steps: [{ step: 'deregister', startMs: 0, durationMs: 96.4, outcome: 'gone' }, SETTLE],
    });
  });

  test('ends with the last step if the report says that it ended before', () => {
    expect(readStopTimeline({ totalMs: 5, steps: [SETTLE] })?.totalMs).toBe(3_096.4);
  });

  test.for<readonly [string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['what was left out', 'left out: too long'],
    ['no steps', { steps: [] }],
    ['steps that are none', { steps: { length: 3 } }],
    ['a step of no kind that we know', { steps: [{ ...SETTLE, step: 'silent' }] }],
    ['a time that is a text', { steps: [{ ...SETTLE, startMs: '0' }] }],
    ['a negative time', { steps: [{ ...SETTLE, durationMs: -1 }] }],
    ['a time without end', { steps: [{ ...SETTLE, durationMs: Number.POSITIVE_INFINITY }] }],
  ])('draws nothing of %s', ([, report]) => {
    expect(readStopTimeline(report)).toBeUndefined();
  });

  test('a step without an outcome has an empty one, and a long one is cut off', () => {
    const steps = [
      { ...SETTLE, outcome: 7 },
      { ...SETTLE, outcome: 'x'.repeat(1_000) },
    ];
    expect(readStopTimeline({ steps })?.steps.map(({ outcome }) => outcome)).toEqual(['', 'x'.repeat(40)]);
  });

  test('is small and never throws, whatever an agent sends', () => {
    const step = fc.oneof(
      fc.anything(),
      fc.record({
        step: fc.oneof(fc.constantFrom('drain', 'exit', '__proto__'), fc.string()),
        startMs: fc.oneof(fc.double(), fc.anything()),
        durationMs: fc.double(),
        outcome: fc.anything(),
      }),
    );
    fc.assert(
      fc.property(
        fc.record({ totalMs: fc.anything(), steps: fc.array(step, { maxLength: 50 }) }),
        (report) => {
          const timeline = readStopTimeline(report);
          expect(JSON.stringify(timeline ?? null).length).toBeLessThan(2_000);
          expect(timeline?.steps.length ?? 1).toBeGreaterThan(0);
          expect(Number.isFinite(timeline?.totalMs ?? 0)).toBe(true);
        },
      ),
    );
  });
});
