import type { DataplaneRecord } from '../../../control-plane/records.pure.ts';

/** What the store has of the attached dataplane default/web-1, with what a test changes. */
export function recordOf(more: Partial<DataplaneRecord> = {}): DataplaneRecord {
  return {
    key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
    epoch: 1,
    incarnation: 'one',
    owner: 'agent',
    deletable: true,
    address: undefined,
    resource: undefined,
    state: 'attached',
    sinceMs: 1_000,
    lostAtMs: undefined,
    replica: undefined,
    phase: '',
    dueAtMs: undefined,
    attempts: 0,
    guard: undefined,
    reason: undefined,
    ...more,
  };
}
