import { describe, expect, it } from 'vitest';

import { nestingOf, parseJson } from '../../../kernel/json.ts';

describe('nestingOf()', () => {
  it.each([
    ['', 0],
    ['1', 0],
    ['[]', 1],
    ['{"a":[{}]}', 3],
    ['[[],[[]]]', 3],
    ['"[[["', 0],
    ['["\\"[[", "\\\\"]', 1],
    ['{"\\\\\\"[":["}"],"b":{"c":"{"}}', 2],
    ['['.repeat(50_000), 50_000],
  ])('%j: %i', (text, depth) => {
    expect(nestingOf(text)).toBe(depth);
  });
});

describe('parseJson()', () => {
  it('says nothing of what is not JSON', () => {
    expect(parseJson('{')).toBeUndefined();
    expect(parseJson('null')).toBeNull();
  });
});
