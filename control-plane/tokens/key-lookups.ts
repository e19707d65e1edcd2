import { RateBounds, type Scope } from '../../kernel/bounds.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { SigningKeyId } from '../../kuma/token-secrets.io.ts';

export interface KeyLookupsDeps {
  readonly clock: Clock;
  /** Whether the zone has this mesh, as far as the companion knows. */
  readonly isKnownMesh: (mesh: string) => boolean;
  readonly onRefused: (scope: Scope) => void;
}

/** How long a missing key counts as missing, and the span in which look-ups are counted. */
export const LOOKUP_SPAN_MS = 10_000;

/** Each is a request to the control plane, for a caller with an unchecked token. */
const MOST = { subject: 20, address: 20, all: 50 } as const;

/**
 * A control plane numbers a mesh's keys 1, 2, 3 …, and a rotated key gets the next number: this many may have been
 * missed.
 */
const SERIALS_AHEAD = 3;

/**
 * Decides which unknown keys the companion looks up. Strangers invent key ids. The companion always looks up the ids that
 * a mesh of the zone may have, and they are few. It bounds all others by address and in all.
 */
export class KeyLookups {
  readonly #deps: KeyLookupsDeps;
  readonly #bounds: RateBounds;
  /** The highest serial number that was found, by mesh. */
  readonly #serials = new Map<string, number>();

  constructor(deps: KeyLookupsDeps) {
    this.#deps = deps;
    this.#bounds = new RateBounds(deps.clock, LOOKUP_SPAN_MS, MOST);
  }

  /** @returns whether it may be looked up */
  admit(id: SigningKeyId, address: string): boolean {
    if (this.#isExpected(id)) return true;
    const refused = this.#bounds.use({ subject: undefined, address });
    if (refused !== undefined) this.#deps.onRefused(refused);
    return refused === undefined;
  }

  /** Called when such a key exists. */
  found({ mesh, kid }: SigningKeyId): void {
    const serial = serialOf(kid);
    if (serial !== undefined) this.#serials.set(mesh, Math.max(serial, this.#serials.get(mesh) ?? 0));
  }

  #isExpected({ mesh, kid }: SigningKeyId): boolean {
    const serial = serialOf(kid);
    const known = this.#serials.get(mesh);
    if (serial === undefined || (known === undefined && !this.#deps.isKnownMesh(mesh))) return false;
    return serial <= (known ?? 0) + SERIALS_AHEAD;
  }
}

/** @see kuma pkg/core/tokens/signing_key.go: a key without a serial number counts as 0 */
function serialOf(kid: string): number | undefined {
  return /^(?:0|[1-9]\d{0,8})$/.test(kid) ? Number(kid) : undefined;
}
