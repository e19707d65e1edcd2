/** How long anything of the store may take. In ms. */
export interface StoreLimits {
  /** For how long an attempt may believe that it has a name. Less than `sessionMs`, by more than a DELETE may take. */
  readonly leaseMs: number;
  /** After which PostgreSQL takes a name away from a replica that has gone silent with it. */
  readonly sessionMs: number;
  /** How long a caller waits for a name. */
  readonly lockWaitMs: number;
  /** For how long one statement, or one connection, may take. */
  readonly statementMs: number;
}

export const STORE_LIMITS: StoreLimits = {
  leaseMs: 5_000,
  sessionMs: 8_000,
  lockWaitMs: 800,
  statementMs: 2_000,
};

/** The most departures that are kept, beside their age */
export const KEPT = {
  departuresOfName: 100,
  bodiesOfName: 3,
  /** All bodies together, in characters. The largest go first: a Dataplane has some thousand. */
  bodies: 64 * 1_024 * 1_024,
  departures: 250_000,
} as const;
