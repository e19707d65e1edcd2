/** Limits how often this agent looks, so that a companion cannot make a fleet of agents attack an address. */
export const LOOK_LIMITS = {
  /** Targets of one look. */
  targets: 8,
  looksPerSecond: 20,
  looksAtOnce: 64,
  /** Looks at any one address, controls included. */
  addressPerSecond: 10,
} as const;

const SECOND_MS = 1_000;

/** The remaining budget for looks. */
export interface LookBudget {
  /** The looks that are allowed now, and since when. */
  readonly tokens: number;
  readonly atMs: number;
  /** The looks of the last second, by address. */
  readonly recent: ReadonlyMap<string, readonly number[]>;
}

export function fullBudget(nowMs: number): LookBudget {
  return { tokens: LOOK_LIMITS.looksAtOnce, atMs: nowMs, recent: new Map() };
}

/**
 * @param addresses that one look goes to, canonical, each once
 * @returns what is left afterwards; or which limit refuses the look, and nothing is taken
 */
export function takeLook(
  budget: LookBudget,
  addresses: readonly string[],
  nowMs: number,
): { readonly budget: LookBudget } | { readonly refused: string } {
  const { looksPerSecond, looksAtOnce, addressPerSecond } = LOOK_LIMITS;
  const grown = (Math.max(0, nowMs - budget.atMs) * looksPerSecond) / SECOND_MS;
  const tokens = Math.min(looksAtOnce, budget.tokens + grown);
  if (tokens < 1) return { refused: `more than ${looksPerSecond} looks a second` };
  const recent = withinSecond(budget.recent, nowMs);
  const busy = addresses.find((address) => (recent.get(address)?.length ?? 0) >= addressPerSecond);
  if (busy !== undefined) return { refused: `more than ${addressPerSecond} looks a second at ${busy}` };
  for (const address of addresses) recent.set(address, [...(recent.get(address) ?? []), nowMs]);
  return { budget: { tokens: tokens - 1, atMs: nowMs, recent } };
}

function withinSecond(recent: LookBudget['recent'], nowMs: number): Map<string, readonly number[]> {
  const left = new Map<string, readonly number[]>();
  for (const [address, times] of recent) {
    const young = times.filter((atMs) => nowMs - atMs < SECOND_MS);
    if (young.length > 0) left.set(address, young);
  }
  return left;
}
