import { describe, expect, test } from 'vitest';

import { decodeToken } from '../../../kuma/decoded-token.ts';

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = (claims: unknown): string => `${part({ alg: 'RS256' })}.${part(claims)}.signature`;

describe('decodeToken()', () => {
  test('reads what the token says, without its signature', () => {
    expect(decodeToken(`${token({ Mesh: 'default', Name: 'web-1', exp: 2, nbf: 1 })}\n`)).toEqual({
      value: {
        claims: { name: 'web-1', mesh: 'default', tags: {}, workload: '', id: '' },
        expiresAtMs: 2_000,
        notBeforeMs: 1_000,
      },
    });
  });

  test('counts a missing time as none', () => {
    expect(decodeToken(token({ exp: null }))).toMatchObject({
      value: { expiresAtMs: undefined, notBeforeMs: undefined },
    });
  });

  test.for(['', 'secret', 'a.b', 'a.secret.c', `a.${part([])}.c`, token({ exp: 'soon' })])(
    'refuses %j and does not repeat it',
    (text) => {
      const reading = decodeToken(text);
      expect(reading).toEqual({ problem: 'it is not a JSON web token' });
    },
  );
});
