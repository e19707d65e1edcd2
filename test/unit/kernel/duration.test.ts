import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { formatDuration, parseDuration } from '../../../kernel/duration.ts';

describe('parseDuration()', () => {
  test.for([
    { text: '0', ms: 0 },
    { text: '0s', ms: 0 },
    { text: '+0', ms: 0 },
    { text: '30s', ms: 30_000 },
    { text: '+5s', ms: 5_000 },
    { text: '1m30s', ms: 90_000 },
    { text: '1.5h', ms: 5_400_000 },
    { text: '1h0m0s', ms: 3_600_000 },
    { text: '.5s', ms: 500 },
    { text: '1.s', ms: 1_000 },
    { text: '1.001s', ms: 1_001 },
    { text: '100ms', ms: 100 },
    { text: '1s500ms', ms: 1_500 },
    { text: '5m10ms', ms: 300_010 },
    { text: '250us', ms: 0.25 },
    { text: '250µs', ms: 0.25 },
    { text: '250μs', ms: 0.25 },
    { text: '500000ns', ms: 0.5 },
    { text: '72h', ms: 259_200_000 },
    { text: ' 30s ', ms: 30_000 },
  ])('"$text" is $ms ms', ({ text, ms }) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.for([
    '',
    ' ',
    '+',
    '-',
    '-1s',
    '30',
    '1',
    '1.5',
    's',
    '.',
    '.s',
    '1d',
    '1S',
    '30 s',
    '1m 30s',
    '1e3s',
    '1,5s',
    'NaN',
    'soon',
    '30ss',
    '1h1',
  ])('"%s" is not a duration', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

describe('formatDuration()', () => {
  test.for([
    { ms: 0, text: '0s' },
    { ms: 1, text: '1ms' },
    { ms: 0.25, text: '0.25ms' },
    { ms: 999, text: '999ms' },
    { ms: 1_000, text: '1s' },
    { ms: 2_250, text: '2.25s' },
    { ms: 60_000, text: '1m' },
    { ms: 90_000, text: '1m30s' },
    { ms: 3_600_000, text: '1h' },
    { ms: 3_661_001, text: '1h1m1.001s' },
    { ms: 259_200_000, text: '72h' },
  ])('$ms ms is "$text"', ({ ms, text }) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test('writes what parseDuration() reads, for every millisecond of the first seconds', () => {
    const all = Array.from({ length: 10_001 }, (_, ms) => ms);
    expect(all.map((ms) => parseDuration(formatDuration(ms)))).toEqual(all);
  });

  test('writes what parseDuration() reads, for any whole number of milliseconds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 * 3_600_000 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });
});
