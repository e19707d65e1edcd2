import type { KeyObject } from 'node:crypto';

import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { publicKeyOfSigningKey, signingKeyPath } from '../../kuma/token-secrets.io.ts';
import { RefreshingCache } from './refreshing-cache.ts';
import type { TokenKeys } from './token-ports.ts';
import type { SecretReader } from './secret-reader.io.ts';

const KNOWN_MS = 300_000;

/** A rotated key is to be found soon. */
const UNKNOWN_MS = 10_000;

/**
 * How many unknown keys are looked up within {@link UNKNOWN_MS}: any caller may invent key ids,
 * and each is a request to the control plane.
 */
const LOOKUPS = 50;

/** The public halves of the keys by which the control plane itself signs. The private ones are not kept. */
export function signingKeySecrets(read: SecretReader, clock: Clock): TokenKeys {
  const cache = new RefreshingCache<KeyObject | undefined>({
    clock,
    load: (path) => load(read, path),
    freshMs: (key) => (key === undefined ? UNKNOWN_MS : KNOWN_MS),
    lasts: (key) => key !== undefined,
  });
  let lookups: readonly number[] = [];
  return {
    find: async (id, maxAgeMs) => {
      const path = signingKeyPath(id);
      if (path === undefined) return undefined;
      if (!cache.has(path)) {
        const nowMs = clock.monotonicMs();
        lookups = lookups.filter((atMs) => nowMs - atMs < UNKNOWN_MS);
        if (lookups.length >= LOOKUPS) throw tooMany();
        lookups = [...lookups, nowMs];
      }
      return cache.get(path, maxAgeMs);
    },
  };
}

async function load(read: SecretReader, path: string): Promise<KeyObject | undefined> {
  const secret = await read(path);
  if (secret === undefined) return undefined;
  const key = publicKeyOfSigningKey(secret);
  if (key !== undefined) return key;
  throw new OperationalError(
    'ENDPOINT_REJECTED',
    `Cannot use ${path}: this is not an RSA private key of 2048 bits or more`,
  );
}

function tooMany(): OperationalError {
  return new OperationalError(
    'ENDPOINT_BUSY',
    `Cannot look up another signing key: ${LOOKUPS} unknown ones within ${UNKNOWN_MS / 1_000} s`,
    { details: { retryAfterMs: UNKNOWN_MS } },
  );
}
