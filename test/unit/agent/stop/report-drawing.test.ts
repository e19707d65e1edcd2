import { describe, expect, test } from 'vitest';

import {
  drawReports,
  percentiles,
  readReports,
  summarise,
} from '../../../../agent/stop/report-drawing.pure.ts';

function line(totalMs: number, outcome = 'gone', more: object = {}): string {
  return JSON.stringify({
    schema: 1,
    stoppedAt: '2026-11-23T18:00:00.123Z',
    dataplane: 'default/web-1',
    cause: 'signal SIGTERM',
    budgetMs: 60_000,
    totalMs,
    steps: [
      { step: 'deregister', startMs: 0, durationMs: totalMs * 0.1, outcome },
      { step: 'settle', startMs: totalMs * 0.1, durationMs: totalMs * 0.5, outcome: 'time is up' },
      { step: 'drain', startMs: totalMs * 0.6, durationMs: totalMs * 0.4, outcome: 'quiet' },
    ],
    ...more,
  });
}

function draw(text: string, width = 80): readonly string[] {
  const { reports, unreadable } = readReports(text);
  return drawReports(reports, summarise(reports, unreadable), width);
}

describe('report', () => {
  test('draws the stops on one scale, and says what the letters are', () => {
    expect(draw([line(4_000), line(2_000)].join('\n'))).toEqual([
      '2026-11-23 18:00:00  default/web-1  DDDDssssssssssssssssssss================  4s',
      '2026-11-23 18:00:00  default/web-1  DDssssssssss========                      2s',
      '',
      'D deregister   s settle   = drain   x exit   c confirm',
      '',
      '2 stops: gone 2',
      '',
      '                 p50       p95       max',
      'deregister     200ms     400ms     400ms',
      'settle            1s        2s        2s',
      'drain          800ms      1.6s      1.6s',
      'total             2s        4s        4s',
    ]);
  });

  test('says what a person should look at', () => {
    const steps = [{ step: 'exit', startMs: 0, durationMs: 1, outcome: 'killed' }];
    const [failed, killed] = draw([line(100, 'failed'), line(70_000, 'gone', { steps })].join('\n'));
    expect(failed).toMatch(/ {2}! not deregistered$/);
    expect(killed).toMatch(/ {2}! killed, over budget$/);
  });

  test('counts lines that are not reports instead of failing at them', () => {
    expect(draw(`${line(100)}\n{"schema":2}\nnonsense\n\n`)).toContain('2 lines were not reports');
  });

  test('a step of no length, and one of another version, still have a letter', () => {
    const steps = [
      { step: 'deregister', startMs: 0, durationMs: 0, outcome: 'gone' },
      { step: 'party', startMs: 0, durationMs: 0, outcome: 'over' },
    ];
    expect(draw(line(1_000, 'gone', { steps }))[0]).toContain(' D? ');
  });

  test.for([
    { values: [], expected: undefined },
    { values: [5], expected: { p50Ms: 5, p95Ms: 5, maxMs: 5 } },
    {
      values: Array.from({ length: 100 }, (_, at) => 100 - at),
      expected: { p50Ms: 50, p95Ms: 95, maxMs: 100 },
    },
  ])('percentiles of $values.length values', ({ values, expected }) => {
    expect(percentiles(values)).toEqual(expected);
  });
});
