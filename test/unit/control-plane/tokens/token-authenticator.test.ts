import { createHash } from 'node:crypto';
import { inspect } from 'node:util';

import { describe, expect, test } from 'vitest';

import { KeyLookups } from '../../../../control-plane/tokens/key-lookups.ts';
import { signingKeySecrets } from '../../../../control-plane/tokens/signing-key-secrets.io.ts';
import {
  openAuthenticator,
  tokenAuthenticator,
} from '../../../../control-plane/tokens/token-authenticator.io.ts';
import { tokenRevocations } from '../../../../control-plane/tokens/token-revocations.io.ts';
import type { TokenProblem } from '../../../../control-plane/tokens/token-ports.ts';
import { describeError, OperationalError } from '../../../../kernel/errors.ts';
import { permits } from '../../../../kuma/token-rules.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { byHmac, bySha, makeSigningKey, signToken, type TokenJson } from '../../../support/signed-token.ts';
import { DOWN, FORBIDDEN, SecretsAtHand } from './secrets-at-hand.ts';

const KEY = makeSigningKey();
const OTHER = makeSigningKey();
const SMALL = makeSigningKey(1024);

const KEY_PATH = 'meshes/default/secrets/dataplane-token-signing-key-default-1';
const GLOBAL_LIST = 'global-secrets/dataplane-token-revocations-default';
const MESH_LIST = 'meshes/default/secrets/dataplane-token-revocations-default';

const NOW_S = Date.UTC(2026, 0, 1) / 1_000;
const HEADER = { alg: 'RS256', kid: '1', typ: 'JWT' };
const CLAIMS = {
  Name: 'web-1',
  Mesh: 'default',
  Tags: { 'kuma.io/service': ['web'] },
  Type: 'dataplane',
  Workload: 'web',
  iat: NOW_S - 5,
  nbf: NOW_S - 5,
  exp: NOW_S + 3_600,
  jti: 'token-1',
};

const ADDRESS = '192.0.2.1';
const BY = { mesh: 'default', address: ADDRESS };

const signed = (
  change: { readonly header?: TokenJson; readonly claims?: TokenJson; readonly key?: typeof KEY } = {},
) =>
  signToken(
    { ...HEADER, ...change.header },
    { ...CLAIMS, ...change.claims },
    bySha(256, (change.key ?? KEY).privateKey),
  );

async function scene() {
  const clock = new FakeClock();
  const control = new SecretsAtHand();
  control.secrets.set(KEY_PATH, KEY.privatePem);
  const problems: TokenProblem[] = [];
  const revocations = tokenRevocations({
    read: control.read,
    files: [],
    clock,
    report: (problem) => problems.push(problem),
  });
  const lookups = new KeyLookups({ clock, isKnownMesh: () => true, onRefused: () => {} });
  const sources = [signingKeySecrets({ read: control.read, lookups, clock })];
  const authenticator = tokenAuthenticator({ sources, revocations, clock });
  const outcome = async (token: string, mesh = 'default') => {
    try {
      return { credential: await authenticator.authenticate(token, { mesh, address: ADDRESS }) };
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      expectNothingLeaks(error, token);
      return { code: error.code, message: error.message, reason: error.details['reason'] };
    }
  };
  return { clock, control, problems, authenticator, outcome };
}

/** Everything that any log could make of an error. */
function expectNothingLeaks(error: OperationalError, token: string): void {
  const shown = [
    inspect(error, { depth: 9, showHidden: true }),
    JSON.stringify(error),
    describeError(error),
  ].join(' ');
  const secrets = [...KEY.privatePem.split('\n'), ...token.split('.')].filter(
    (part) => part.length > 20 && !part.startsWith('-----'),
  );
  expect(secrets.filter((secret) => shown.includes(secret))).toEqual([]);
}

const refused = (reason: string) => ({
  code: 'UNAUTHENTICATED',
  message: 'The caller has no valid dataplane token',
  reason,
});

const BAD_TOKENS: readonly { readonly name: string; readonly token: string; readonly reason: string }[] = [
  { name: 'no token', token: '', reason: 'there is none' },
  { name: 'garbage', token: 'garbage', reason: 'it is not a token' },
  { name: 'three parts of garbage', token: 'a.b.c', reason: 'it is not a token' },
  { name: 'five parts', token: `${signed()}.a.b`, reason: 'it is not a token' },
  { name: 'binary', token: '\u0000\u00ff.\u0001', reason: 'it is not a token' },
  { name: 'a megabyte', token: 'a'.repeat(1_000_000), reason: 'it has 1000000 characters' },
  {
    name: 'a megabyte that begins well',
    token: `${signed()}${'a'.repeat(1_000_000)}`,
    reason: `it has ${signed().length + 1_000_000} characters`,
  },
  { name: 'Bearer', token: `Bearer ${signed()}`, reason: 'it begins with "Bearer": kuma-dp sends it bare' },
  { name: 'bearer', token: `bearer ${signed()}`, reason: 'it begins with "Bearer": kuma-dp sends it bare' },
  { name: 'space around it', token: ` ${signed()}`, reason: 'it is not a token' },
  { name: 'a newline after it', token: `${signed()}\n`, reason: 'it is not a token' },
  { name: 'padding', token: `${signed()}==`, reason: 'it is not a token' },
  { name: 'expired', token: signed({ claims: { exp: NOW_S - 3_600 } }), reason: 'it is expired' },
  { name: 'expired this second', token: signed({ claims: { exp: NOW_S } }), reason: 'it is expired' },
  {
    name: 'not valid before the next second',
    token: signed({ claims: { nbf: NOW_S + 1 } }),
    reason: 'it is not valid yet, or its times are not numbers',
  },
  {
    name: 'an expiry in words',
    token: signed({ claims: { exp: 'never' } }),
    reason: 'it is not valid yet, or its times are not numbers',
  },
  {
    name: 'signed by another key',
    token: signed({ key: OTHER }),
    reason: 'its signature is not by the key that it names',
  },
  {
    name: 'claims exchanged after signing',
    token: signed()
      .split('.')
      .with(1, Buffer.from(JSON.stringify({ ...CLAIMS, Name: 'web-2' })).toString('base64url'))
      .join('.'),
    reason: 'its signature is not by the key that it names',
  },
  {
    name: 'unsigned',
    token: signToken(HEADER, CLAIMS, () => ''),
    reason: 'its signature is not by the key that it names',
  },
  {
    name: 'an unknown key',
    token: signed({ header: { kid: '2' } }),
    reason: 'there is no key "2" for its mesh',
  },
  { name: 'no key id', token: signed({ header: { kid: undefined } }), reason: 'its key id is not a string' },
  {
    name: 'a number for a key id',
    token: signed({ header: { kid: 1 } }),
    reason: 'its key id is not a string',
  },
  {
    name: 'a list for a key id',
    token: signed({ header: { kid: ['1'] } }),
    reason: 'its key id is not a string',
  },
  { name: 'an empty key id', token: signed({ header: { kid: '' } }), reason: 'its key id is not a string' },
  {
    name: 'a path for a key id',
    token: signed({ header: { kid: '../../admin-user-token' } }),
    reason: 'there is no key "../../admin-user-token" for its mesh',
  },
  {
    name: 'alg none',
    token: signToken({ ...HEADER, alg: 'none' }, CLAIMS, () => ''),
    reason: 'its algorithm is not RS256',
  },
  {
    name: 'alg None with a signature',
    token: signed({ header: { alg: 'None' } }),
    reason: 'its algorithm is not RS256',
  },
  {
    name: 'HS256 with the public key for a secret, PKCS#1',
    token: signToken({ ...HEADER, alg: 'HS256' }, CLAIMS, byHmac(KEY.pkcs1Pem)),
    reason: 'its algorithm is not RS256',
  },
  {
    name: 'HS256 with the public key for a secret, PKIX',
    token: signToken({ ...HEADER, alg: 'HS256' }, CLAIMS, byHmac(KEY.pkixPem)),
    reason: 'its algorithm is not RS256',
  },
  {
    name: 'HS256 as of Kuma before 1.4, by the private key',
    token: signToken({ ...HEADER, alg: 'HS256', kid: '0' }, CLAIMS, byHmac(KEY.privateDer)),
    reason: 'its algorithm is not RS256',
  },
  {
    name: 'RS512 by the right key',
    token: signToken({ ...HEADER, alg: 'RS512' }, CLAIMS, bySha(512, KEY.privateKey)),
    reason: 'its algorithm is not RS256',
  },
  {
    name: 'a header with an unknown critical field',
    token: signed({ header: { crit: ['x'], x: 1 } }),
    reason: 'ERR_JOSE_NOT_SUPPORTED',
  },
  {
    name: 'claims of another kind of token',
    token: signed({ claims: { Tags: 'web' } }),
    reason: 'its claims are not those of a dataplane token',
  },
  {
    name: 'a claim in lower case',
    token: signed({ claims: { name: 'web-2' } }),
    reason: 'it misspells the claim "name"',
  },
];

describe('tokenAuthenticator()', () => {
  test('a good token says what it is bound to', async () => {
    const { outcome } = await scene();
    expect(await outcome(signed())).toEqual({
      credential: {
        name: 'web-1',
        mesh: 'default',
        tags: { 'kuma.io/service': ['web'] },
        workload: 'web',
        id: 'token-1',
      },
    });
  });

  test.for([
    { name: 'in its last second', claims: { exp: NOW_S + 1 } },
    { name: 'in its first second', claims: { nbf: NOW_S } },
    { name: 'without times', claims: { exp: undefined, nbf: undefined, iat: undefined } },
    { name: 'issued tomorrow by a clock that is ahead', claims: { iat: NOW_S + 86_400 } },
  ])('good $name', async ({ claims }) => {
    const { outcome } = await scene();
    expect(Object.keys(await outcome(signed({ claims })))).toEqual(['credential']);
  });

  test.for(BAD_TOKENS)('refused: $name', async ({ token, reason }) => {
    const { outcome, control } = await scene();
    expect(await outcome(token)).toEqual(refused(reason));
    expect(
      control.reads.filter((path) => !path.startsWith('meshes/default/secrets/dataplane-token-')),
    ).toEqual([]);
  });

  test.for([GLOBAL_LIST, MESH_LIST])('refused: revoked in %s', async (list) => {
    const { outcome, control } = await scene();
    control.secrets.set(list, 'token-0,token-1\n');
    expect([
      await outcome(signed()),
      Object.keys(await outcome(signed({ claims: { jti: 'token-2' } }))),
    ]).toEqual([refused('it is revoked: token-1'), ['credential']]);
  });

  test('a token of one mesh is invalid for the keys of another', async () => {
    const { outcome, control } = await scene();
    const otherMesh = 'meshes/other/secrets/dataplane-token-signing-key-other-1';
    const found = [await outcome(signed(), 'other')];
    control.secrets.set(otherMesh, OTHER.privatePem);
    found.push(await outcome(signed(), 'third'), await outcome(signed({ key: OTHER }), 'default'));
    expect(found).toEqual([
      refused('there is no key "1" for its mesh'),
      refused('there is no key "1" for its mesh'),
      refused('its signature is not by the key that it names'),
    ]);
  });

  test('a token that names another mesh, by a key of this one, is good for neither', async () => {
    const { authenticator } = await scene();
    const credential = await authenticator.authenticate(
      signed({ claims: { Mesh: 'other', Tags: {}, Workload: '' } }),
      BY,
    );
    const judge = (mesh: string) =>
      permits(credential, {
        key: { proxyType: 'dataplane', mesh, name: 'web-1' },
        stored: undefined,
        version: '2.14.3',
      }).allowed;
    expect({ mesh: credential.mesh, here: judge('default') }).toEqual({ mesh: 'other', here: false });
  });

  test('a token that names no mesh is bound to the one whose key it was checked by', async () => {
    const { authenticator } = await scene();
    const credential = await authenticator.authenticate(signed({ claims: { Mesh: '' } }), BY);
    expect(credential.mesh).toBe('default');
  });

  test('a token without an id is named by its hash, and cannot be revoked', async () => {
    const { authenticator, control } = await scene();
    control.secrets.set(GLOBAL_LIST, 'a,,\n');
    const token = signed({ claims: { jti: undefined } });
    const { id } = await authenticator.authenticate(token, BY);
    expect(id).toBe(createHash('sha256').update(token).digest('hex').slice(0, 16));
  });

  test('a key of 1024 bits is refused', async () => {
    const { outcome, control } = await scene();
    control.secrets.set(KEY_PATH, SMALL.privatePem);
    expect(await outcome(signed({ key: SMALL }))).toEqual(
      refused(
        `its key cannot be read: Cannot use ${KEY_PATH}: this is not an RSA private key of 2048 bits or more`,
      ),
    );
  });

  test('a rotated key is found within ten seconds of being asked for in vain', async () => {
    const { outcome, control, clock } = await scene();
    const token = signed({ header: { kid: '2' }, key: OTHER });
    const found = [await outcome(token)];
    control.secrets.set(`${KEY_PATH.slice(0, -1)}2`, OTHER.privatePem);
    clock.advance(9_999);
    found.push(await outcome(token));
    clock.advance(1);
    expect([...found, Object.keys(await outcome(token))]).toEqual([
      refused('there is no key "2" for its mesh'),
      refused('there is no key "2" for its mesh'),
      ['credential'],
    ]);
  });

  test('a key replaced under its own id counts once the one that was read is ten seconds old', async () => {
    const { outcome, control, clock } = await scene();
    await outcome(signed());
    control.secrets.set(KEY_PATH, OTHER.privatePem);
    const token = signed({ key: OTHER });
    const found = [Object.keys(await outcome(token))];
    clock.advance(10_000);
    found.push(Object.keys(await outcome(token)));
    expect({ found, old: await outcome(signed()) }).toEqual({
      found: [['code', 'message', 'reason'], ['credential']],
      old: refused('its signature is not by the key that it names'),
    });
  });

  test('wrong signatures do not make it read the key more than once in ten seconds', async () => {
    const { outcome, control, clock } = await scene();
    for (let attempt = 0; attempt < 100; attempt += 1) {
      await outcome(signed({ key: OTHER }));
      clock.advance(100);
    }
    expect(control.reads).toEqual([KEY_PATH]);
  });

  test('an expired token does not make it read the key again', async () => {
    const { outcome, control, clock } = await scene();
    const expired = signed({ claims: { exp: NOW_S } });
    await outcome(expired);
    clock.advance(60_000);
    await outcome(expired);
    expect(control.reads).toEqual([KEY_PATH]);
  });

  describe('a token that was good before', () => {
    test('is refused once it is expired, to the second', async () => {
      const { outcome, clock } = await scene();
      const token = signed({ claims: { exp: NOW_S + 60 } });
      expect(await outcome(token)).toHaveProperty('credential');
      clock.advance(59_000);
      expect(await outcome(token)).toHaveProperty('credential');
      clock.advance(1_000);
      expect(await outcome(token)).toEqual(refused('it is expired'));
    });

    test('is refused for another mesh, whose keys are others', async () => {
      const { outcome } = await scene();
      const token = signed();
      expect(await outcome(token)).toHaveProperty('credential');
      expect(await outcome(token, 'other')).not.toHaveProperty('credential');
    });

    test('is not taken for one that differs in a single character', async () => {
      const { outcome } = await scene();
      const token = signed();
      expect(await outcome(token)).toHaveProperty('credential');
      for (const part of [0, 1, 2]) {
        const parts = token.split('.');
        const text = parts[part] ?? '';
        const other = text.at(-2) === 'A' ? 'B' : 'A';
        const forged = parts.with(part, `${text.slice(0, -2)}${other}${text.slice(-1)}`).join('.');
        expect(await outcome(forged)).not.toHaveProperty('credential');
      }
    });
  });

  test('a removed key is good for five minutes at the most', async () => {
    const { outcome, control, clock } = await scene();
    await outcome(signed());
    control.secrets.delete(KEY_PATH);
    clock.advance(299_999);
    const before = Object.keys(await outcome(signed()));
    clock.advance(1);
    expect([before, await outcome(signed())]).toEqual([
      ['credential'],
      refused('there is no key "1" for its mesh'),
    ]);
  });

  test('while the control plane is down a known key goes on, and a revoked token stays revoked', async () => {
    const { outcome, control, clock } = await scene();
    control.secrets.set(MESH_LIST, 'token-2');
    await outcome(signed());
    control.failure = DOWN;
    clock.wallJumpMs = -86_400_000;
    clock.advance(86_400_000);
    expect([
      Object.keys(await outcome(signed())),
      await outcome(signed({ claims: { jti: 'token-2' } })),
    ]).toEqual([['credential'], refused('it is revoked: token-2')]);
  });

  test('an expired token is refused whatever else is down', async () => {
    const { outcome, control, clock } = await scene();
    await outcome(signed());
    control.failure = DOWN;
    clock.advance(3_600_000);
    expect(await outcome(signed())).toEqual(refused('it is expired'));
  });

  test('a key that cannot be read now says nothing about the token: try again', async () => {
    const { outcome, control } = await scene();
    control.failure = DOWN;
    expect(await outcome(signed())).toEqual({
      code: 'ENDPOINT_UNREACHABLE',
      message: 'Cannot check dataplane tokens now',
      reason: 'its key cannot be read: Cannot read it: connection refused',
    });
  });

  test('without an admin’s access there is no key to check it by', async () => {
    const { outcome, control } = await scene();
    control.failure = FORBIDDEN;
    expect(await outcome(signed())).toEqual(refused('its key cannot be read: Cannot read it: status 403'));
  });

  test('a secret that is no key is named, not quoted', async () => {
    const { outcome, control } = await scene();
    control.secrets.set(KEY_PATH, KEY.pkcs1Pem);
    expect(await outcome(signed())).toEqual(
      refused(
        `its key cannot be read: Cannot use ${KEY_PATH}: this is not an RSA private key of 2048 bits or more`,
      ),
    );
  });

  test('a bug elsewhere is not taken for a bad token', async () => {
    const { clock } = await scene();
    const sources = [{ find: () => Promise.reject(new TypeError('a bug')) }];
    const revocations = { isRevoked: () => Promise.resolve(false) };
    const authenticator = tokenAuthenticator({ sources, revocations, clock });
    await expect(authenticator.authenticate(signed(), BY)).rejects.toThrow(new TypeError('a bug'));
  });

  test('sources are asked in order, up to the first that knows', async () => {
    const { clock } = await scene();
    const asked: string[] = [];
    const source = (name: string, key: typeof KEY | undefined) => ({
      find: () => {
        asked.push(name);
        return Promise.resolve(key?.publicKey);
      },
    });
    const revocations = { isRevoked: () => Promise.resolve(false) };
    const sources = [source('empty', undefined), source('right', KEY), source('wrong', OTHER)];
    await tokenAuthenticator({ sources, revocations, clock }).authenticate(signed(), BY);
    expect(asked).toEqual(['empty', 'right']);
  });
});

test('openAuthenticator accepts every caller, for everything', async () => {
  const credential = await openAuthenticator.authenticate('', BY);
  const key = { proxyType: 'dataplane', mesh: 'any', name: 'any' } as const;
  expect([credential, permits(credential, { key, stored: undefined, version: undefined })]).toEqual([
    { name: '', mesh: '', tags: {}, workload: '', id: 'none' },
    { allowed: true },
  ]);
});
