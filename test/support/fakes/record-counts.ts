import type { DataplaneRecord, RecordCount } from '../../../control-plane/records.pure.ts';

export function countRecords(rows: readonly DataplaneRecord[]): readonly RecordCount[] {
  const counts = new Map<string, RecordCount>();
  for (const { key, state, guard, sinceMs } of rows) {
    const group = [key.mesh, state, guard ?? ''].join('\n');
    const { count = 0, oldestSinceMs = sinceMs } = counts.get(group) ?? {};
    const oldest = Math.min(oldestSinceMs, sinceMs);
    counts.set(group, { mesh: key.mesh, state, guard, count: count + 1, oldestSinceMs: oldest });
  }
  return [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}
