import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { ERROR_CODES, OperationalError, type ErrorCode } from '../../kernel/errors.ts';

const DOCUMENT = readFileSync(new URL('../../docs/operate/messages.md', import.meta.url), 'utf8');

/** Code and text of each entry, in order. */
const ENTRIES = DOCUMENT.slice(DOCUMENT.indexOf('\n# Errors\n'))
  .split(/^## /m)
  .slice(1)
  .map((entry) => {
    const [code = '', ...text] = entry.split('\n');
    return { code, text: text.join('\n').trim() };
  });

describe('docs/operate/messages.md', () => {
  test('has one entry for each code, in the order of the code', () => {
    expect(ENTRIES.map(({ code }) => code)).toEqual(Object.keys(ERROR_CODES));
  });

  test.for(Object.entries(ERROR_CODES))(
    '%s begins as the code words it, and is tried again or not',
    ([code, traits]) => {
      const text = ENTRIES.find((entry) => entry.code === code)?.text ?? '';
      const [first] = text.split('\n');
      expect(first).toBe(`${traits.summary}. Tried again: ${traits.retryable ? 'yes' : 'no'}.`);
      expect(text).toContain('*What to do:*');
      const { hint = '' } = new OperationalError(code as ErrorCode, '');
      const remedy = (text.split('*What to do:*')[1] ?? '').replaceAll('`', '').replaceAll(/\s+/g, ' ');
      expect(remedy.toLowerCase(), 'the hint of its log lines').toContain(hint.toLowerCase());
    },
  );
});
