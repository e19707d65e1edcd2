import { hash, type KeyObject } from 'node:crypto';

import type { JWTVerifyResult } from 'jose';

/** Room for a fleet's tokens and their replacements. */
const REMEMBERED = 20_000;

interface Verified {
  readonly key: KeyObject;
  readonly result: JWTVerifyResult;
}

/**
 * Signatures that were verified, so that an agent that shows its token every 20 s costs no arithmetic. Nothing else is
 * kept: the key must still be the one that is found for the token, the time must be right, and the caller checks
 * revocation each time. The tokens themselves are not kept.
 */
export class VerifiedTokens {
  readonly #known = new Map<string, Verified>();

  /**
   * @param findKey by the token's key id, as for a signature that is checked
   * @returns `undefined` if it has to be verified
   */
  async find(
    token: string,
    findKey: (kid: unknown) => Promise<KeyObject>,
    wallMs: number,
  ): Promise<JWTVerifyResult | undefined> {
    const known = this.#known.get(digest(token));
    if (known === undefined || !isTimely(known.result, wallMs)) return undefined;
    const key = await findKey(known.result.protectedHeader.kid);
    return key.equals(known.key) ? known.result : undefined;
  }

  add(token: string, key: KeyObject, result: JWTVerifyResult): void {
    this.#known.set(digest(token), { key, result });
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size > REMEMBERED) this.#known.delete(oldest);
  }
}

function digest(token: string): string {
  return hash('sha256', token, 'base64');
}

/** To the second, as in the verification. A token outside its time is verified, for the reason. */
function isTimely({ payload: { exp, nbf } }: JWTVerifyResult, wallMs: number): boolean {
  const nowS = Math.floor(wallMs / 1_000);
  return (exp === undefined || exp > nowS) && (nbf === undefined || nbf <= nowS);
}
