/** Time limits of the store, in ms. */
export interface StoreLimits {
  /** How long an attempt may assume that it has a name. Less than `sessionMs` by more than a DELETE may take. */
  readonly leaseMs: number;
  /** After this time PostgreSQL takes a name away from a replica that has gone silent with it. */
  readonly sessionMs: number;
  /** How long a caller waits for a name. */
  readonly lockWaitMs: number;
  /** How long one statement may take, or the opening of one connection. */
  readonly statementMs: number;
}

export const STORE_LIMITS: StoreLimits = {
  leaseMs: 5_000,
  sessionMs: 8_000,
  lockWaitMs: 800,
  statementMs: 2_000,
};

/** How many departures are kept; their age is another limit. */
export const KEPT = {
  departuresOfName: 100,
  bodiesOfName: 3,
  /** All bodies together, in characters. The largest go first; a Dataplane usually has some thousand. */
  bodies: 64 * 1_024 * 1_024,
  departures: 250_000,
} as const;
