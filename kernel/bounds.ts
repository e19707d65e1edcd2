import type { Clock } from './clock.ts';

/** A caller, as the bounds count it. */
export interface Caller {
  /** Of its token, together with the dataplane that it names; `undefined` before its token was checked. */
  readonly subject: string | undefined;
  /** Its address block: see `addressBlock`. */
  readonly address: string;
}

/** The order of the checks: a caller meets its own bound before a shared one. */
export const SCOPES = ['subject', 'address', 'all'] as const;
export type Scope = (typeof SCOPES)[number];

/** Bounds for one subject, one address and all callers. */
export type Most = Readonly<Record<Scope, number>>;

export interface Taken {
  /** Releases it. A second call has no effect. */
  readonly release: () => void;
}

export type Grant = Taken | { readonly refused: Scope };

/** Bounds a resource that callers hold at the same time. It remembers only current users. */
export class Bounds {
  readonly #most: Most;
  readonly #bySubject = new Map<string, number>();
  readonly #byAddress = new Map<string, number>();
  #all = 0;

  constructor(most: Most) {
    this.#most = most;
  }

  /** How much is held. */
  get held(): number {
    return this.#all;
  }

  /** How many subjects and addresses are remembered. */
  get remembered(): number {
    return this.#bySubject.size + this.#byAddress.size;
  }

  take(caller: Caller): Grant {
    const refused = this.#full(caller);
    if (refused !== undefined) return { refused };
    this.#add(caller, 1);
    let held = true;
    return {
      release: () => {
        if (held) this.#add(caller, -1);
        held = false;
      },
    };
  }

  #full({ subject, address }: Caller): Scope | undefined {
    const { subject: mostOfSubject, address: mostOfAddress, all } = this.#most;
    if (subject !== undefined && (this.#bySubject.get(subject) ?? 0) >= mostOfSubject) return 'subject';
    if ((this.#byAddress.get(address) ?? 0) >= mostOfAddress) return 'address';
    return this.#all >= all ? 'all' : undefined;
  }

  #add({ subject, address }: Caller, by: 1 | -1): void {
    if (subject !== undefined) count(this.#bySubject, subject, by);
    count(this.#byAddress, address, by);
    this.#all += by;
  }
}

/** Bounds what callers do within a time span. A span begins with the first use after the previous span. */
export class RateBounds {
  readonly #most: Most;
  readonly #spanMs: number;
  readonly #clock: Clock;
  #span: Bounds;
  #endsAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, spanMs: number, most: Most) {
    this.#clock = clock;
    this.#spanMs = spanMs;
    this.#most = most;
    this.#span = new Bounds(most);
  }

  /** @returns which bound refuses it; `undefined` if none does */
  use(caller: Caller): Scope | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#endsAtMs) {
      this.#span = new Bounds(this.#most);
      this.#endsAtMs = nowMs + this.#spanMs;
    }
    const grant = this.#span.take(caller);
    return 'refused' in grant ? grant.refused : undefined;
  }
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}
