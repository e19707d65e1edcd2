import type { RecordCount, RecordState } from './records.pure.ts';

/** Totals of the records, for metrics. */
export interface RecordTotals {
  readonly byState: Readonly<Record<RecordState, number>>;
  /** Guards of open departures only */
  readonly heldByGuard: ReadonlyMap<string, number>;
  readonly brakedByMesh: ReadonlyMap<string, number>;
  /** When the oldest open departure of each state began; the store's time, in ms. Absent for a state without one. */
  readonly oldestMs: ReadonlyMap<RecordState, number>;
}

export function totalsOf(counts: readonly RecordCount[]): RecordTotals {
  const byState = { attached: 0, unseen: 0, lost: 0, leaving: 0, swept: 0 };
  const heldByGuard = new Map<string, number>();
  const brakedByMesh = new Map<string, number>();
  const oldestMs = new Map<RecordState, number>();
  for (const { mesh, state, guard, count, oldestSinceMs } of counts) {
    byState[state] += count;
    if (state === 'attached' || state === 'unseen') continue;
    oldestMs.set(state, Math.min(oldestSinceMs, oldestMs.get(state) ?? Infinity));
    if (guard !== undefined) heldByGuard.set(guard, (heldByGuard.get(guard) ?? 0) + count);
    if (guard === 'brake') brakedByMesh.set(mesh, (brakedByMesh.get(mesh) ?? 0) + count);
  }
  return { byState, heldByGuard, brakedByMesh, oldestMs };
}
