import { createHash, type KeyObject } from 'node:crypto';

import { errors, jwtVerify, type JWTVerifyResult } from 'jose';

import type { Clock } from '../../kernel/clock.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { readClaims } from '../../kuma/dataplane-token.ts';
import type { Authenticator, Credential } from '../ports.ts';
import type { KeyDemand, TokenKeys, TokenRevocations } from './token-ports.ts';
import { VerifiedTokens } from './verified-tokens.io.ts';

/** Kuma's tokens have some 700 characters, and a hundred more for each tag. */
const LONGEST_TOKEN = 16_384;

/** How old a key may be by which a signature is called wrong: it may have been replaced under the same id. */
const WRONG_BY_MS = 10_000;

export interface TokenAuthenticatorOptions {
  /** In the order in which they are asked. */
  readonly sources: readonly TokenKeys[];
  readonly revocations: TokenRevocations;
  readonly clock: Clock;
}

/**
 * Checks a dataplane token as a control plane does: RS256 by a key that its `kid` and the mesh name, `exp` and `nbf` to
 * the second, not revoked. Two differences: HS256, which Kuma up to 2.14 takes for tokens from before 1.4, is refused;
 * and a token that names no mesh becomes bound to the one whose key it was checked by.
 *
 * Beyond the port's contract it throws with a retryable code, as safe to show to a stranger, when the key is not known
 * and cannot be read now: that says nothing about the token. The log's reason is in `details.reason`; nothing of the
 * token but its key id gets there.
 *
 * @see kuma pkg/core/tokens/validator.go
 */
export function tokenAuthenticator(given: TokenAuthenticatorOptions): Authenticator {
  const options = { ...given, verified: new VerifiedTokens() };
  // A token that is shown again has the same result.
  const read = new WeakMap<JWTVerifyResult, ReturnType<typeof readClaims>>();
  return {
    authenticate: async (token, by) => {
      const { mesh } = by;
      requireToken(token, mesh);
      const verified = await verify(options, token, by);
      const claims = read.get(verified) ?? readClaims(verified.payload);
      read.set(verified, claims);
      if ('problem' in claims) throw refusal(mesh, claims.problem);
      const { id, ...binding } = claims.value;
      if (await options.revocations.isRevoked(id, mesh)) throw refusal(mesh, `it is revoked: ${id}`);
      return {
        ...binding,
        mesh: binding.mesh === '' ? mesh : binding.mesh,
        id: id === '' ? createHash('sha256').update(token).digest('hex').slice(0, 16) : id,
      };
    },
  };
}

/** `--authn none`: every caller that reaches the listener may do everything. */
export const openAuthenticator: Authenticator = {
  authenticate: (): Promise<Credential> =>
    Promise.resolve({ name: '', mesh: '', tags: {}, workload: '', id: 'none' }),
};

function requireToken(token: string, mesh: string): void {
  if (token === '') throw refusal(mesh, 'there is none');
  if (token.length > LONGEST_TOKEN) throw refusal(mesh, `it has ${token.length} characters`);
  if (/^bearer\s/i.test(token)) throw refusal(mesh, 'it begins with "Bearer": kuma-dp sends it bare');
  // The library would pass over white space.
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) throw refusal(mesh, 'it is not a token');
}

interface Checks extends TokenAuthenticatorOptions {
  readonly verified: VerifiedTokens;
}

async function verify(
  options: Checks,
  token: string,
  by: Parameters<Authenticator['authenticate']>[1],
): Promise<JWTVerifyResult> {
  const { mesh } = by;
  const first = await verifyBy(options, token, { ...by, maxAgeMs: Number.POSITIVE_INFINITY });
  if ('verified' in first) return first.verified;
  if (!(first.error instanceof errors.JWSSignatureVerificationFailed)) throw translate(first.error, mesh);
  const second = await verifyBy(options, token, { ...by, maxAgeMs: WRONG_BY_MS });
  if ('verified' in second) return second.verified;
  throw translate(second.error, mesh);
}

type Verification = { readonly verified: JWTVerifyResult } | { readonly error: unknown };

async function verifyBy(
  { sources, clock, verified: known }: Checks,
  token: string,
  { mesh, ...demand }: KeyDemand & { readonly mesh: string },
): Promise<Verification> {
  const wallMs = clock.wallMs();
  const keyOf = (kid: unknown): Promise<KeyObject> => findKey(sources, { mesh, kid }, demand);
  try {
    const before = await known.find(token, keyOf, wallMs);
    if (before !== undefined) return { verified: before };
    let key: KeyObject | undefined;
    const verified = await jwtVerify(token, async ({ kid }) => (key = await keyOf(kid)), {
      algorithms: ['RS256'],
      clockTolerance: 0,
      currentDate: new Date(wallMs),
    });
    if (key !== undefined) known.add(token, key, verified);
    return { verified };
  } catch (error) {
    return { error };
  }
}

/** The caller wrote the header: its types are not checked yet. */
async function findKey(
  sources: readonly TokenKeys[],
  { mesh, kid }: { readonly mesh: string; readonly kid: unknown },
  demand: KeyDemand,
): Promise<KeyObject> {
  if (typeof kid !== 'string' || kid === '') throw refusal(mesh, 'its key id is not a string');
  for (const source of sources) {
    const key = await source.find({ mesh, kid }, demand);
    if (key !== undefined) return key;
  }
  throw refusal(mesh, `there is no key ${JSON.stringify(kid.slice(0, 60))} for its mesh`);
}

function translate(error: unknown, mesh: string): unknown {
  if (error instanceof errors.JOSEError) return refusal(mesh, REASONS[error.code] ?? error.code);
  if (!(error instanceof OperationalError) || error.code === 'UNAUTHENTICATED') return error;
  const reason = `its key cannot be read: ${describeError(error)}`;
  return error.retryable ? notNow(error, reason) : refusal(mesh, reason);
}

/** In our words: those of the library may quote what the token says. */
const REASONS: Readonly<Record<string, string>> = {
  ERR_JWT_EXPIRED: 'it is expired',
  ERR_JWT_CLAIM_VALIDATION_FAILED: 'it is not valid yet, or its times are not numbers',
  ERR_JOSE_ALG_NOT_ALLOWED: 'its algorithm is not RS256',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'its signature is not by the key that it names',
  ERR_JWS_INVALID: 'it is not a token',
  ERR_JWT_INVALID: 'it is not a token',
};

function refusal(mesh: string, reason: string): OperationalError {
  return new OperationalError('UNAUTHENTICATED', 'The caller has no valid dataplane token', {
    details: { mesh: mesh.slice(0, 100), reason },
  });
}

function notNow({ code }: OperationalError, reason: string): OperationalError {
  return new OperationalError(code, 'Cannot check dataplane tokens now', { details: { reason } });
}
