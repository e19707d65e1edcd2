import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

import * as z from 'zod/mini';

/** Which key signed a token. */
export interface SigningKeyId {
  readonly mesh: string;
  readonly kid: string;
}

/** The characters of Kuma's names. The key id comes from the caller: no other character may get into a path. */
const NAME = /^[0-9a-z][0-9a-z._-]{0,99}$/;

/**
 * Where a control plane keeps the private key, relative to the root of its API. Only its admin may read it.
 *
 * @returns `undefined` if there can be no such secret
 * @see kuma pkg/core/tokens/signing_key.go, SigningKeyResourceKey: key "0" is from before 1.4 and has no suffix
 */
export function signingKeyPath({ mesh, kid }: SigningKeyId): string | undefined {
  if (!NAME.test(mesh) || !NAME.test(kid)) return undefined;
  return `meshes/${mesh}/secrets/dataplane-token-signing-key-${mesh}${kid === '0' ? '' : `-${kid}`}`;
}

/**
 * The secrets with ids of revoked tokens.
 *
 * @see https://github.com/kumahq/kuma/pull/12913, kuma pkg/tokens/builtin/components.go
 */
export function revocationPaths(mesh: string): readonly string[] {
  if (!NAME.test(mesh)) return [];
  const name = `dataplane-token-revocations-${mesh}`;
  return [`global-secrets/${name}`, `meshes/${mesh}/secrets/${name}`];
}

const Secret = z.looseObject({ type: z.enum(['Secret', 'GlobalSecret']), data: z.nullish(z.base64()) });

/** @returns what a secret holds; `undefined` if `body` is no secret's. */
export function readSecret(body: unknown): Buffer | undefined {
  const parsed = z.safeParse(Secret, body);
  return parsed.success ? Buffer.from(parsed.data.data ?? '', 'base64') : undefined;
}

/**
 * The public half of a signing key: PEM of PKCS#1, in old installations bare DER.
 *
 * @returns `undefined` if it is no RSA private key, or one of less than 2048 bits, which no RS256 is checked by
 * @see kuma pkg/core/tokens/signing_key.go, keyBytesToRsaPrivateKey
 */
export function publicKeyOfSigningKey(secret: Buffer): KeyObject | undefined {
  const pem = block(secret.toString('latin1'), ['RSA PRIVATE KEY']);
  return usableKey(() =>
    createPublicKey(
      pem === undefined
        ? createPrivateKey({ key: secret, format: 'der', type: 'pkcs1' })
        : createPrivateKey(pem),
    ),
  );
}

/** Both forms that `kumactl generate public-key` and OpenSSL write. */
export function readPublicKey(text: string): KeyObject | undefined {
  const pem = block(text, ['RSA PUBLIC KEY', 'PUBLIC KEY']);
  return pem === undefined ? undefined : usableKey(() => createPublicKey(pem));
}

/**
 * The ids in a list of revoked tokens. Kuma wants commas without spaces and at most one newline, at the end; this also
 * accepts spaces and lines.
 *
 * @see kuma pkg/core/tokens/revocations.go
 */
export function readRevocations(text: string): ReadonlySet<string> {
  return new Set(
    text
      .split(/[,\n]/)
      .map((id) => id.trim())
      .filter((id) => id !== ''),
  );
}

function usableKey(make: () => KeyObject): KeyObject | undefined {
  try {
    const key = make();
    const bits = key.asymmetricKeyType === 'rsa' ? (key.asymmetricKeyDetails?.modulusLength ?? 0) : 0;
    return bits >= 2_048 ? key : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The first PEM block, if it has one of these types. `createPublicKey` alone would accept private keys and certificates
 * too.
 */
function block(text: string, types: readonly string[]): string | undefined {
  const match = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----/.exec(text);
  return match !== null && types.includes(match[1] ?? '') ? match[0] : undefined;
}
