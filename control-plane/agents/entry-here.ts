import type { AttachedAgent } from '../attached-agent.ts';
import { judgeEntry } from '../evidence/entry.pure.ts';
import type { Introduction } from '../ports.ts';
import type { DataplaneRecord } from '../records.pure.ts';

/** `unknown`: the store cannot be reached, and no agent that is attached here prevents it. */
export type GivenHere =
  | { readonly kind: 'unknown' | 'superseded' }
  | { readonly kind: 'held'; readonly holder: Pick<DataplaneRecord, 'address'> };

/**
 * Whether an incarnation gets its name while the store is away: the agent that is attached here under that name
 * decides.
 */
export function judgeHere(
  introduction: Introduction,
  agent: AttachedAgent | undefined,
  { isAsking, graceMs }: { readonly isAsking: boolean; readonly graceMs: number },
): GivenHere {
  if (agent === undefined || agent.introduction.incarnation === introduction.incarnation)
    return { kind: 'unknown' };
  const verdict = judgeEntry({
    holder: {
      epoch: agent.epoch ?? 0,
      incarnation: agent.introduction.incarnation,
      state: agent.leaving ? 'leaving' : 'attached',
      serving: agent.serving,
      lostAtMs: undefined,
    },
    nowMs: 0,
    refusedEpoch: undefined,
    newcomer: introduction,
    departure: isAsking ? SUPERSEDED : undefined,
    graceMs,
  });
  if (verdict === 'enter') return { kind: 'unknown' };
  return verdict === 'held' ? { kind: 'held', holder: agent.introduction } : { kind: 'superseded' };
}

/** An incarnation that has recently asked for its name was superseded before. */
const SUPERSEDED = { cause: 'fallback', outcome: 'superseded' } as const;
