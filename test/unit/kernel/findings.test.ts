import { describe, expect, test } from 'vitest';

import { describeFindings, exitCodeOf, type Finding } from '../../../kernel/findings.ts';

const of = (level: Finding['level']): Finding => ({ level, about: 'it', says: 'so' });

describe('exitCodeOf()', () => {
  test.for<[readonly Finding['level'][], number]>([
    [[], 0],
    [['ok', 'unseen'], 0],
    [['ok', 'warning'], 1],
    [['failure', 'warning'], 2],
    [['unseen', 'failure'], 2],
  ])('%o ends with %i', ([levels, code]) => {
    expect(exitCodeOf(levels.map(of))).toBe(code);
  });
});

describe('describeFindings()', () => {
  test('has a line for each, and its remedy below', () => {
    const text = describeFindings([
      of('ok'),
      of('unseen'),
      of('warning'),
      { ...of('failure'), remedy: 'do' },
    ]);
    expect(text).toBe('ok   it: so\n?    it: so\nWARN it: so\nFAIL it: so\n     do\n');
  });
});
