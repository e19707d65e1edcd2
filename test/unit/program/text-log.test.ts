import { describe, expect, test } from 'vitest';

import { OperationalError } from '../../../kernel/errors.ts';
import type { Log, LogFields } from '../../../kernel/log.ts';
import { pinoLog } from '../../../program/pino-log.ts';
import { withoutSecrets } from '../../../program/line-output.ts';
import { callerLines, type PipeReader } from '../../../program/standard-error.ts';
import { textLog } from '../../../program/text-log.ts';
import { FakeOutput } from '../../support/fake-output.ts';

const NOON = new Date(2026, 0, 2, 12, 3, 4, 56).getTime();

interface Given {
  readonly reader?: PipeReader;
  readonly colour?: boolean;
  readonly threshold?: keyof Log;
  readonly level?: keyof Log;
  readonly fields?: LogFields;
  readonly message?: string;
}

function lines(given: Given): readonly string[] {
  const { reader = 'journal', colour = false, threshold = 'debug', level = 'info', message = 'Said' } = given;
  const output = new FakeOutput();
  const log = textLog(output, { level: threshold, look: { reader, colour }, wallMs: () => NOON });
  log[level]('thing.happened', message, given.fields);
  return output.lines;
}

describe('textLog()', () => {
  test.for([
    ['error', '<3>'],
    ['warn', '<4>'],
    ['info', '<6>'],
    ['debug', '<7>'],
  ] as const)('%s is %s to the journal, which has the time itself', ([level, priority]) => {
    expect(lines({ level })).toEqual([`${priority}Said [thing.happened]\n`]);
  });

  test('a terminal gets the time of day and a word, in colour where it may be', () => {
    expect(lines({ reader: 'terminal', level: 'warn' })).toEqual([
      '12:03:04.056 WARN  Said [thing.happened]\n',
    ]);
    expect(lines({ reader: 'terminal', level: 'error', colour: true })).toEqual([
      '12:03:04.056 \u001B[31mERROR\u001B[0m Said [thing.happened]\n',
    ]);
  });

  test('a file gets the date as well', () => {
    expect(lines({ reader: 'other' })).toEqual([
      `${new Date(NOON).toISOString()} INFO  Said [thing.happened]\n`,
    ]);
  });

  test.for([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ] as const)('from %s on: %s', ([threshold, expected]) => {
    const levels = ['debug', 'info', 'warn', 'error'] as const;
    expect(levels.filter((level) => lines({ threshold, level }).length === 1)).toEqual(expected);
  });

  test('a failure has its causes, its code and what to look for', () => {
    const err = new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot GET http://cp:5681/', {
      cause: new Error('connect ECONNREFUSED'),
    });
    expect(lines({ level: 'warn', fields: { err, url: 'http://cp:5681' } })).toEqual([
      '<4>Said: Cannot GET http://cp:5681/: connect ECONNREFUSED (ENDPOINT_UNREACHABLE: check address and port, firewall and name resolution) [thing.happened]\n',
    ]);
    const busy = new OperationalError('ENDPOINT_BUSY', 'Not now');
    expect(lines({ fields: { err: busy } })).toEqual(['<6>Said: Not now (ENDPOINT_BUSY) [thing.happened]\n']);
  });

  test('a bug says where it is at the level debug only', () => {
    const fields = { err: new TypeError('x is undefined') };
    expect(lines({ threshold: 'info', fields })).toEqual([
      '<6>Said: TypeError: x is undefined [thing.happened]\n',
    ]);
    const [line = ''] = lines({ fields: { err: new TypeError('x is undefined') } });
    expect(line).toMatch(
      /^<6>Said: TypeError: x is undefined \(at .*text-log\.test\.ts.*\) \[thing\.happened\]\n$/,
    );
    const bare = new RangeError('too far');
    bare.stack = undefined as unknown as string;
    expect(lines({ fields: { err: bare } })).toEqual(['<6>Said: RangeError: too far [thing.happened]\n']);
    expect(lines({ fields: { err: 'just words' } })).toEqual(['<6>Said: just words [thing.happened]\n']);
  });

  test('a line is never longer than a pipe takes in one piece, and keeps its event', () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`field${at}`, '漢'.repeat(500)]));
    const [line = ''] = lines({ message: '字'.repeat(5_000), fields: many, reader: 'other' });
    expect(Buffer.byteLength(line)).toBeLessThan(4_096);
    expect(line.endsWith(' [thing.happened]\n')).toBe(true);
  });

  test('a long sentence leaves room for the fields', () => {
    const [line = ''] = lines({ message: 'x'.repeat(5_000), fields: { url: 'https://cp:5682' } });
    expect(line).toMatch(/^<6>x+… url=https:\/\/cp:5682 \[thing\.happened\]\n$/);
  });
});

describe('withoutSecrets()', () => {
  const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.eyJOYW1lIjoid2ViLTEifQ.c2lnbmF0dXJl';
  const err = new Error(`401 for Bearer ${TOKEN} at postgres://me:se%20cret@db:5432/kuma`);

  test.for(['text', 'json'] as const)('takes tokens and passwords out of %s', (format) => {
    const output = new FakeOutput();
    const safe = withoutSecrets(output);
    const look = { reader: 'journal', colour: false } as const;
    const log =
      format === 'text'
        ? textLog(safe, { level: 'info', look, wallMs: () => NOON })
        : pinoLog('program', safe, 'info');
    log.warn('thing.happened', `Said ${TOKEN}`, { err, url: 'https://user:secret@cp/' });
    const [line = ''] = output.lines;
    expect(line).not.toMatch(/eyJ|se%20cret|secret@/);
    expect(line).toContain('://[redacted]@db:5432/kuma');
    expect(line).toContain('Said [redacted]');
  });

  test('names what was dropped', () => {
    expect(withoutSecrets({ dropped: 3, write: () => {} }).dropped).toBe(3);
  });
});

describe('callerLines()', () => {
  const how = { program: 'p', level: 'error' } as const;

  test('has the name in front, except in the journal, which wants a priority for each line', () => {
    expect(callerLines('no\nusage\n', { ...how, reader: 'other' })).toBe('p: no\nusage\n\n');
    expect(callerLines('no\nusage\n', { ...how, reader: 'journal' })).toBe('<3>no\n<3>usage\n');
  });
});
