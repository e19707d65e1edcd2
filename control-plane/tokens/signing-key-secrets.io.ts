import type { KeyObject } from 'node:crypto';

import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { publicKeyOfSigningKey, signingKeyPath } from '../../kuma/token-secrets.io.ts';
import { LOOKUP_SPAN_MS, type KeyLookups } from './key-lookups.ts';
import { RefreshingCache } from './refreshing-cache.ts';
import type { TokenKeys } from './token-ports.ts';
import type { SecretReader } from './secret-reader.io.ts';

const KNOWN_MS = 300_000;

export interface SigningKeySecretsOptions {
  readonly read: SecretReader;
  readonly lookups: KeyLookups;
  readonly clock: Clock;
}

/** The public halves of the control plane's own signing keys. The private halves are not kept. */
export function signingKeySecrets({ read, lookups, clock }: SigningKeySecretsOptions): TokenKeys {
  const cache = new RefreshingCache<KeyObject | undefined>({
    clock,
    load: (path) => load(read, path),
    // The companion must find a rotated key soon.
    freshMs: (key) => (key === undefined ? LOOKUP_SPAN_MS : KNOWN_MS),
    lasts: (key) => key !== undefined,
  });
  return {
    find: async (id, { maxAgeMs, address }) => {
      const path = signingKeyPath(id);
      if (path === undefined) return undefined;
      if (!cache.has(path) && !lookups.admit(id, address)) throw tooMany();
      const key = await cache.get(path, maxAgeMs);
      if (key !== undefined) lookups.found(id);
      return key;
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
    `Cannot look up another signing key: too many tokens had unknown keys within ${LOOKUP_SPAN_MS / 1_000} s`,
    { details: { retryAfterMs: LOOKUP_SPAN_MS } },
  );
}
