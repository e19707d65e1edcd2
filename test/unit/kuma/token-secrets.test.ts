import { generateKeyPairSync } from 'node:crypto';

import { describe, expect, test } from 'vitest';

import {
  publicKeyOfSigningKey,
  readPublicKey,
  readRevocations,
  readSecret,
  revocationPaths,
  signingKeyPath,
} from '../../../kuma/token-secrets.io.ts';
import { RECORDED_VERSIONS, recordedAnswer, recordedText } from '../../support/kuma/recorded.ts';
import { makeSigningKey } from '../../support/signed-token.ts';

const KEY = makeSigningKey();
const SMALL = makeSigningKey(1024);
const CURVE = generateKeyPairSync('ec', { namedCurve: 'P-256' });

describe('signingKeyPath()', () => {
  test.for(RECORDED_VERSIONS)('the path at which Kuma %s keeps the key', (version) => {
    const { request } = JSON.parse(recordedText(version, 'anonymous-secret.json')) as {
      readonly request: { readonly path: string };
    };
    expect(`/${signingKeyPath({ mesh: 'default', kid: '1' })}`).toBe(request.path);
  });

  test('key 0 has no suffix', () => {
    expect(signingKeyPath({ mesh: 'm-1', kid: '0' })).toBe(
      'meshes/m-1/secrets/dataplane-token-signing-key-m-1',
    );
  });

  test.for([
    { mesh: 'default', kid: '' },
    { mesh: 'default', kid: '../../../global-secrets/admin-user-token' },
    { mesh: 'default', kid: '1?x=y' },
    { mesh: 'default', kid: '1%2f..' },
    { mesh: 'default', kid: '..' },
    { mesh: 'default', kid: '1'.repeat(101) },
    { mesh: '..', kid: '1' },
    { mesh: '', kid: '1' },
    { mesh: 'a/b', kid: '1' },
  ])('there is no secret for $mesh/$kid', (id) => {
    expect(signingKeyPath(id)).toBeUndefined();
  });
});

describe('revocationPaths()', () => {
  test.for(RECORDED_VERSIONS)('both places in which Kuma %s was asked', (version) => {
    const paths = ['revocations-global', 'revocations-mesh'].map(
      (name) =>
        (JSON.parse(recordedText(version, `${name}.json`)) as { request: { path: string } }).request.path,
    );
    expect(revocationPaths('default').map((path) => `/${path}`)).toEqual(paths);
  });

  test('a mesh that is no name has none', () => {
    expect(revocationPaths('../x')).toEqual([]);
  });
});

describe('readSecret()', () => {
  test.for([
    { body: { type: 'Secret', mesh: 'default', name: 'a', data: 'aGk=' }, text: 'hi' },
    { body: { type: 'Secret', name: 'a', data: '' }, text: '' },
    { body: { type: 'GlobalSecret', name: 'a' }, text: '' },
  ])('$body', ({ body, text }) => {
    expect(readSecret(body)?.toString()).toBe(text);
  });

  test.for([
    undefined,
    null,
    [],
    'aGk=',
    {},
    { type: 'Mesh', data: 'aGk=' },
    { type: 'Secret', data: 1 },
    { type: 'Secret', data: '-----BEGIN' },
  ])('no secret: %j', (body) => {
    expect(readSecret(body)).toBeUndefined();
  });

  test.for(RECORDED_VERSIONS)('an error of Kuma %s is none', (version) => {
    expect(readSecret(recordedAnswer(version, 'anonymous-secret').body)).toBeUndefined();
  });
});

describe('publicKeyOfSigningKey()', () => {
  test.for([
    { name: 'PEM', secret: Buffer.from(KEY.privatePem) },
    { name: 'PEM after other text', secret: Buffer.from(`\n# key\n${KEY.privatePem}\n`) },
    { name: 'bare DER of old installations', secret: KEY.privateDer },
  ])('$name', ({ secret }) => {
    const key = publicKeyOfSigningKey(secret);
    expect([key?.type, key?.equals(KEY.publicKey)]).toEqual(['public', true]);
  });

  test.for([
    { name: 'a public key', secret: Buffer.from(KEY.pkcs1Pem) },
    {
      name: 'a private key of another form',
      secret: Buffer.from(KEY.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
    },
    { name: 'a key of 1024 bits', secret: Buffer.from(SMALL.privatePem) },
    { name: 'nothing', secret: Buffer.alloc(0) },
    { name: 'a truncated key', secret: KEY.privateDer.subarray(0, 200) },
    {
      name: 'PEM of nonsense',
      secret: Buffer.from('-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----'),
    },
  ])('$name is none', ({ secret }) => {
    expect(publicKeyOfSigningKey(secret)).toBeUndefined();
  });
});

describe('readPublicKey()', () => {
  test.for([
    { name: 'PKCS#1', text: KEY.pkcs1Pem },
    { name: 'PKIX', text: KEY.pkixPem },
  ])('$name', ({ text }) => {
    const key = readPublicKey(text);
    expect([key?.type, key?.equals(KEY.publicKey)]).toEqual(['public', true]);
  });

  test.for([
    { name: 'a private key', text: KEY.privatePem },
    { name: 'a private key before the public one', text: `${KEY.privatePem}${KEY.pkixPem}` },
    { name: 'a key of 1024 bits', text: SMALL.pkixPem },
    {
      name: 'a key of another kind',
      text: CURVE.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    },
    { name: 'half a file', text: KEY.pkixPem.slice(0, 200) },
    { name: 'PEM of nonsense', text: '-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----' },
    { name: 'an empty file', text: '' },
  ])('$name is none', ({ text }) => {
    expect(readPublicKey(text)).toBeUndefined();
  });
});

test.for([
  { text: '', ids: [] },
  { text: '\n', ids: [] },
  { text: 'a', ids: ['a'] },
  { text: 'a,b\n', ids: ['a', 'b'] },
  { text: 'a\nb\n', ids: ['a', 'b'] },
  { text: 'a, b ,\nc\r\n\n', ids: ['a', 'b', 'c'] },
])('the revoked ids in $text', ({ text, ids }) => {
  expect([...readRevocations(text)]).toEqual(ids);
});
