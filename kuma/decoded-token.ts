import * as z from 'zod/mini';

import type { OptionReading } from '../kernel/options.ts';
import { readClaims, type DataplaneClaims } from './dataplane-token.ts';
import { parseJson } from '../kernel/json.ts';

/** The claims of a dataplane token, before its signature is checked. */
export interface DecodedToken {
  readonly claims: DataplaneClaims;
  readonly expiresAtMs: number | undefined;
  readonly notBeforeMs: number | undefined;
}

const Times = z.looseObject({ exp: z.nullish(z.number()), nbf: z.nullish(z.number()) });

/** Reads the payload of a JSON web token. No message quotes the token: it is a credential. */
export function decodeToken(token: string): OptionReading<DecodedToken> {
  const parts = token.trim().split('.');
  const payload = parts.length === 3 ? parseJson(decodeBase64Url(parts[1] ?? '')) : undefined;
  const times = z.safeParse(Times, payload);
  if (!times.success) return { problem: 'it is not a JSON web token' };
  const claims = readClaims(payload);
  if ('problem' in claims) return claims;
  const { exp, nbf } = times.data;
  return { value: { claims: claims.value, expiresAtMs: toMs(exp), notBeforeMs: toMs(nbf) } };
}

function toMs(seconds: number | null | undefined): number | undefined {
  return seconds === null || seconds === undefined ? undefined : seconds * 1_000;
}

function decodeBase64Url(text: string): string {
  return Buffer.from(text, 'base64url').toString('utf8');
}
