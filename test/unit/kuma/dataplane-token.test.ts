import { describe, expect, test } from 'vitest';

import { readClaims } from '../../../kuma/dataplane-token.ts';
import { RECORDED_VERSIONS, recordedText } from '../../support/kuma/recorded.ts';

const UNBOUND = { name: '', mesh: '', tags: {}, workload: '', id: '' };

describe('readClaims()', () => {
  test.for(RECORDED_VERSIONS)('the claims of a token that Kuma %s issued', (version) => {
    const { claims } = JSON.parse(recordedText(version, 'dataplane-token-decoded.json')) as {
      readonly claims: { readonly jti: string };
    };
    expect(readClaims(claims)).toEqual({
      value: { name: 'b1', mesh: 'default', tags: {}, workload: '', id: claims.jti },
    });
  });

  test('everything that a token may be bound to', () => {
    expect(
      readClaims({
        Name: 'web-1',
        Mesh: 'default',
        Tags: { 'kuma.io/service': ['web', 'web-api'], env: null },
        Type: 'dataplane',
        Workload: 'web',
        jti: 'a',
        exp: 1,
      }),
    ).toEqual({
      value: {
        name: 'web-1',
        mesh: 'default',
        tags: { 'kuma.io/service': ['web', 'web-api'], env: [] },
        workload: 'web',
        id: 'a',
      },
    });
  });

  test.for([{}, { Name: null, Mesh: null, Tags: null, Workload: null, jti: null }])(
    'what Go leaves out is not bound: %j',
    (payload) => {
      expect(readClaims(payload)).toEqual({ value: UNBOUND });
    },
  );

  test.for([
    { Name: 1 },
    { Mesh: ['default'] },
    { Tags: ['web'] },
    { Tags: { a: 'web' } },
    { Tags: { a: [1] } },
    { Workload: {} },
    { jti: 7 },
    [],
    'a',
    null,
  ])('claims of other types are not read: %j', (payload) => {
    expect(readClaims(payload)).toEqual({ problem: 'its claims are not those of a dataplane token' });
  });

  test.for(['name', 'NAME', 'mesh', 'tags', 'workload', 'JTI', 'Exp', 'NBF'])(
    'a claim spelled "%s", which binds the token at the control plane, is refused',
    (name) => {
      expect(readClaims({ [name]: 'web-1' })).toEqual({ problem: `it misspells the claim "${name}"` });
    },
  );
});
