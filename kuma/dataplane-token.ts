import * as z from 'zod/mini';

import type { OptionReading } from '../kernel/options.ts';

/** The binding of a dataplane token. Empty: not bound in this respect. */
export interface TokenBinding {
  readonly name: string;
  readonly mesh: string;
  /** The values that are allowed, by tag; of Kuma 3, by label. */
  readonly tags: Readonly<Record<string, readonly string[]>>;
  readonly workload: string;
}

export interface DataplaneClaims extends TokenBinding {
  /** `jti`; empty if it has none and can therefore not be revoked. */
  readonly id: string;
}

/** Go writes an absent string, list or map as `null` or not at all. */
const Text = z.nullish(z.string());

const Claims = z.looseObject({
  Name: Text,
  Mesh: Text,
  Tags: z.nullish(z.record(z.string(), z.nullish(z.array(z.string())))),
  Workload: Text,
  jti: Text,
});

/** Every claim that counts, by its name in lower case. */
const CLAIM_NAMES: ReadonlyMap<string, string> = new Map(
  ['Name', 'Mesh', 'Tags', 'Workload', 'jti', 'exp', 'nbf'].map((name) => [name.toLowerCase(), name]),
);

/**
 * Reads the claims of a token whose signature was checked. `Type` is not among them, because Kuma ignores it too.
 *
 * Kuma, written in Go, ignores the case of claim names. There a claim `name` binds a token, and a reader that knows
 * only `Name` would take it for an unbound one. So a token with such a claim is refused.
 *
 * @see kuma pkg/tokens/builtin/issuer/token.go
 */
export function readClaims(payload: unknown): OptionReading<DataplaneClaims> {
  const parsed = z.safeParse(Claims, payload);
  if (!parsed.success) return { problem: 'its claims are not those of a dataplane token' };
  const misspelt = Object.keys(parsed.data).find((name) => isMisspelt(name));
  if (misspelt !== undefined) return { problem: `it misspells the claim "${misspelt.slice(0, 20)}"` };
  const { Name, Mesh, Tags, Workload, jti } = parsed.data;
  const tags = Object.entries(Tags ?? {}).map(([tag, values]) => [tag, values ?? []] as const);
  return {
    value: {
      name: Name ?? '',
      mesh: Mesh ?? '',
      tags: Object.fromEntries(tags),
      workload: Workload ?? '',
      id: jti ?? '',
    },
  };
}

function isMisspelt(name: string): boolean {
  const known = CLAIM_NAMES.get(name.toLowerCase());
  return known !== undefined && known !== name;
}
