import type { LookResult } from '../../kernel/tcp-findings.ts';

/** How many looks of each result a run has made, and how many it refused to make. */
export type LookCounts = Readonly<Record<LookResult | 'refusals', number>>;
