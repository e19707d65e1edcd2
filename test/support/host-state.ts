import type { HostState } from '../../agent/state/host-state.pure.ts';

/** The state file of a run of `web-1` that has just begun, with a test's changes. */
export function hostState(change: Partial<HostState> = {}): HostState {
  return {
    schema: 1,
    incarnation: 'run-1',
    dataplane: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
    owner: 'cp',
    mayDelete: true,
    endpoints: [],
    skipVerify: false,
    bootId: 'boot-1',
    agent: { pid: 100, startTicks: 1 },
    phase: 'running',
    deregistered: false,
    ...change,
  };
}
