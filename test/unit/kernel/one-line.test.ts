import { assert, integer, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  cutTo,
  describeFields,
  inJson,
  inLines,
  inOneLine,
  roughDuration,
} from '../../../kernel/one-line.ts';
import { describeSteps } from '../../../kernel/stop-words.ts';

const anyText = string({ unit: 'binary', maxLength: 50 });

describe('inOneLine()', () => {
  test.for([
    ['two\nlines\r\n', String.raw`two\nlines\r\n`],
    ['a\ttab', String.raw`a\ttab`],
    ['\u001B[31mred', String.raw`\x1b[31mred`],
    ['\u009Bcsi', String.raw`\x9bcsi`],
    ['line\u2028separator', String.raw`line\u{2028}separator`],
    ['right\u202Eto left', String.raw`right\u{202e}to left`],
    ['half \uD83D of a pair', String.raw`half \u{d83d} of a pair`],
    ['a whole 😀', 'a whole 😀'],
    ['grüße an "alle" \\o/', 'grüße an "alle" \\o/'],
  ])('%j', ([text = '', expected]) => {
    expect(inOneLine(text)).toBe(expected);
  });

  test('no character that ends, colours or turns a line is left of any text', () => {
    assert(
      property(anyText, (text) => {
        expect(inOneLine(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
    );
  });
});

describe('cutTo()', () => {
  test('keeps what fits, and ends in an ellipsis otherwise', () => {
    expect([cutTo('abcd', 4), cutTo('abcde', 4)]).toEqual(['abcd', 'abc…']);
  });

  test('cuts no character in half', () => {
    assert(
      property(string({ unit: 'grapheme', maxLength: 30 }), integer({ min: 1, max: 20 }), (text, limit) => {
        const cut = cutTo(text, limit);
        expect(cut.length).toBeLessThanOrEqual(Math.max(limit, 1));
        expect(cut.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('describeFields()', () => {
  test('durations have their unit, lists their commas, what is not said stays out', () => {
    const fields = {
      settleMs: 2_250,
      attempts: 3,
      fenced: false,
      listen: ['127.0.0.1:5690', 'unix:/run/a b'],
      endpoints: [new URL('https://cp.example:5682')],
      empty: '',
      none: undefined,
      nothing: null,
      exit: { code: 0 },
    };
    expect(describeFields(fields)).toBe(
      'settle=2.25s attempts=3 fenced=false listen="127.0.0.1:5690,unix:/run/a b" endpoints=https://cp.example:5682/',
    );
  });

  test('what the sentence says is not repeated', () => {
    const fields = { url: 'https://cp:5682', version: '2.14.3', attempts: 1 };
    expect(describeFields(fields, 'Reached https://cp:5682 in 1ms')).toBe('version=2.14.3 attempts=1');
  });

  test('quotes end in the right place', () => {
    expect(describeFields({ reason: 'he said "no" \\ left=1\n' })).toBe(
      String.raw`reason="he said \"no\" \\ left=1\n"`,
    );
  });

  test('each value can be read back, and none is long', () => {
    assert(
      property(anyText, (text) => {
        const said = describeFields({ key: text });
        expect(said).toMatch(/^(key=([^\s"]+|"(\\.|[^"\\\n])*"))?$/u);
      }),
    );
    expect(describeFields({ key: 'x'.repeat(10_000) })).toHaveLength('key='.length + 160);
  });
});

describe('roughDuration()', () => {
  test.for([
    [0, '0s'],
    [7.6, '8ms'],
    [999.4, '999ms'],
    [2_249.3, '2.25s'],
    [65_004, '1m5s'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
  ] as const)('%d is %s', ([durationMs, text]) => {
    expect(roughDuration(durationMs)).toBe(text);
  });
});

describe('describeSteps()', () => {
  test('says how a step ended where that is not as always', () => {
    const steps = [
      { step: 'deregister', durationMs: 8.1, outcome: 'gone' },
      { step: 'settle', durationMs: 2_251, outcome: 'time is up' },
      { step: 'drain', durationMs: 510, outcome: 'time is up' },
      { step: 'exit', durationMs: 95, outcome: 'killed' },
      { step: 'confirm', durationMs: 4, outcome: 'gone' },
    ];
    expect(describeSteps(steps)).toBe(
      'deregister 8ms, settle 2.25s, drain 510ms (time is up), exit 95ms (killed), confirm 4ms',
    );
  });
});

describe('inLines()', () => {
  test('keeps line ends and no other control character', () => {
    expect(inLines('one\n\u001b[31mtwo\u009b\r\n')).toBe('one\n\\x1b[31mtwo\\x9b\\r\n');
  });
});

describe('inJson()', () => {
  test('control characters are escaped, and can be read back', () => {
    assert(
      property(string({ unit: 'binary' }), (text) => {
        const json = inJson({ text, more: 'ü\u009b\u202e\u{e0001}' }, 2);
        expect(json).not.toMatch(/[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u);
        expect(JSON.parse(json)).toEqual({ text, more: 'ü\u009b\u202e\u{e0001}' });
      }),
    );
  });
});
