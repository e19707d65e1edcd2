import type { KeyObject } from 'node:crypto';

import type { SigningKeyId } from '../../kuma/token-secrets.io.ts';

/** The request for a key, and how fresh it must be. */
export interface KeyDemand {
  /** The largest allowed age of the answer. */
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
  /** Never throws: an unreadable list is reported, and its last content applies. */
  isRevoked(tokenId: string, mesh: string): Promise<boolean>;
}

/** Problems for the operator; each is reported once, until it is over. */
export type TokenProblem =
  /** A list at the control plane cannot be read: tokens revoked since it last was, if ever, are accepted. */
  | { readonly kind: 'revocations-unknown'; readonly path: string; readonly reason: string }
  /** A mounted file has become unusable; its last content stays in use. */
  | { readonly kind: 'file-unusable'; readonly path: string; readonly reason: string };
