import type { Metadata } from '@grpc/grpc-js';

import { addressBlockOf } from '../../kernel/address-block.ts';
import type { Caller } from '../../kernel/bounds.ts';
import { OperationalError } from '../../kernel/errors.ts';

/** One call, before and while it is authorised. */
export interface CallerOf {
  readonly metadata: Metadata;
  /** Its address block. */
  readonly address: string;
  /**
   * Called when the caller has a valid token, and names a dataplane that the token may be for: reserves what a call
   * needs, until it ends.
   *
   * @throws `LIMIT_EXCEEDED`
   */
  readonly admit: (caller: Caller) => Promise<void>;
  /**
   * Called when the token is for this dataplane: the connection no longer counts as a stranger's.
   *
   * @throws `LIMIT_EXCEEDED`
   */
  readonly authenticated: (subject: string) => void;
}

export interface PeerCall {
  readonly metadata: Metadata;
  getPeer(): string;
}

/** @returns which limit the connection of this call is over; then it is cut soon */
export type MarkAuthenticated = (call: Pick<PeerCall, 'getPeer'>, subject: string) => string | undefined;

/** @param admit what a call of this kind takes */
export function callerOf(
  call: PeerCall,
  { admit, markAuthenticated }: Pick<CallerOf, 'admit'> & { readonly markAuthenticated: MarkAuthenticated },
): CallerOf {
  return {
    metadata: call.metadata,
    address: addressBlockOf(call.getPeer()),
    admit,
    authenticated: (subject) => {
      const over = markAuthenticated(call, subject);
      if (over === undefined) return;
      throw new OperationalError('LIMIT_EXCEEDED', `Cannot serve the call: over the limit ${over}`);
    },
  };
}
