import type { KeyObject } from 'node:crypto';

import type { SigningKeyId } from '../../kuma/token-secrets.io.ts';

/** The request for a key, and how fresh it must be. */
export interface KeyDemand {
  /** How long ago the answer may have been found out at the most. */
  readonly maxAgeMs: number;
  /** The caller's address block. */
  readonly address: string;
}

/** A source of public keys. */
export interface TokenKeys {
  /**
   * @returns `undefined` if there is no such key
   * @throws {@link OperationalError} if that cannot be told now
   */
  find(id: SigningKeyId, demand: KeyDemand): Promise<KeyObject | undefined>;
}

export interface TokenRevocations {
  /** Never throws: a list that cannot be read is reported, and counts as it was last read. */
  isRevoked(tokenId: string, mesh: string): Promise<boolean>;
}

/** Something that an operator should know of; each is reported once, until it is over. */
export type TokenProblem =
  /** A list at the control plane cannot be read: tokens revoked since it last was, if ever, are accepted. */
  | { readonly kind: 'revocations-unknown'; readonly path: string; readonly reason: string }
  /** A mounted file cannot be used any more; its last content holds. */
  | { readonly kind: 'file-unusable'; readonly path: string; readonly reason: string };
