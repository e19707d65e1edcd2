/** What a table of cases varies: each axis with its values, the values being strings that a title can show. */
export type Axes = Readonly<Record<string, readonly string[]>>;

export type PairwiseRow<A extends Axes> = { readonly [Axis in keyof A]: A[Axis][number] };

/** mulberry32: small, and the same everywhere for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Rows in which every two values of two different axes occur together at least once, as far as `isPossible` allows.
 * Greedy: of some random rows around a pair that is still missing, the one that covers most is taken.
 */
export function pairwise<A extends Axes>(
  axes: A,
  random: () => number,
  isPossible: (row: PairwiseRow<A>) => boolean = () => true,
): readonly PairwiseRow<A>[] {
  const missing = new Set(pairsOf(axes));
  const rows: PairwiseRow<A>[] = [];
  for (const pair of missing) {
    if (!missing.has(pair)) continue;
    const candidates = Array.from({ length: 40 }, () => rowAround(axes, pair, random)).filter(isPossible);
    const best = candidates.reduce<{ row: PairwiseRow<A>; covers: number } | undefined>((winner, row) => {
      const covers = pairsIn(row).filter((known) => missing.has(known)).length;
      return winner === undefined || covers > winner.covers ? { row, covers } : winner;
    }, undefined);
    missing.delete(pair);
    if (best === undefined) continue;
    for (const covered of pairsIn(best.row)) missing.delete(covered);
    rows.push(best.row);
  }
  return rows;
}

/** @param random in [0, 1) */
export function randomRow<A extends Axes>(axes: A, random: () => number): PairwiseRow<A> {
  const row = Object.entries(axes).map(([axis, values]) => [axis, pick(values, random)] as const);
  return Object.fromEntries(row) as PairwiseRow<A>;
}

function rowAround<A extends Axes>(axes: A, pair: string, random: () => number): PairwiseRow<A> {
  const fixed = Object.fromEntries(pair.split('&').map((part) => part.split('=') as [string, string]));
  return { ...randomRow(axes, random), ...fixed };
}

function pairsOf(axes: Axes): readonly string[] {
  const all = Object.entries(axes).map(([axis, values]) => values.map((value) => `${axis}=${value}`));
  return all.flatMap((left, at) =>
    all.slice(at + 1).flatMap((right) => left.flatMap((a) => right.map((b) => `${a}&${b}`))),
  );
}

function pairsIn(row: Readonly<Record<string, string>>): readonly string[] {
  const parts = Object.entries(row).map(([axis, value]) => `${axis}=${value}`);
  return parts.flatMap((a, at) => parts.slice(at + 1).map((b) => `${a}&${b}`));
}

function pick(values: readonly string[], random: () => number): string {
  return values[Math.floor(random() * values.length)] ?? '';
}
