import { createHmac, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';

/** A key as a control plane makes them, and the forms in which it is stored and mounted. */
export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** PKCS#1, as in a control plane's secret. */
  readonly privatePem: string;
  readonly privateDer: Buffer;
  readonly pkcs1Pem: string;
  readonly pkixPem: string;
}

export function makeSigningKey(modulusLength = 2048): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
  return {
    privateKey,
    publicKey,
    privatePem: privateKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    privateDer: privateKey.export({ type: 'pkcs1', format: 'der' }),
    pkcs1Pem: publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    pkixPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

export type TokenJson = Readonly<Record<string, unknown>>;

/** Signs any input, right or wrong: an honest library would refuse half of the tokens that the tests need. */
export function signToken(header: TokenJson, claims: TokenJson, sign: (input: string) => string): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${sign(input)}`;
}

export function bySha(bits: 256 | 512, key: KeyObject): (input: string) => string {
  return (input) => createSign(`RSA-SHA${bits}`).update(input).sign(key, 'base64url');
}

/** HS256 with anything as the secret: the forgery that uses the public key as the secret. */
export function byHmac(secret: string | Buffer): (input: string) => string {
  return (input) => createHmac('sha256', secret).update(input).digest('base64url');
}

function encode(part: TokenJson): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
