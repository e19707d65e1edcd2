import { describeKey } from '../../kuma/dataplane.ts';
import type { HostState } from './host-state.pure.ts';

export interface FoundState {
  readonly path: string;
  readonly state: HostState;
}

/**
 * The dataplane of a host that the caller means. A dataplane with a living agent comes before a dataplane that has only
 * left a file.
 *
 * @returns the problem in words
 */
export function selectState(
  found: readonly FoundState[],
  wanted: { readonly mesh: string | undefined; readonly name: string | undefined },
  isAlive: (state: HostState) => boolean,
): FoundState | string {
  const matching = found.filter(
    ({ state: { dataplane } }) =>
      (wanted.name === undefined || dataplane.name === wanted.name) &&
      (wanted.mesh === undefined || dataplane.mesh === wanted.mesh),
  );
  const living = matching.filter(({ state }) => isAlive(state));
  const [only, ...others] = living.length > 0 ? living : matching;
  if (only === undefined) {
    const all = found.map(({ state }) => describeKey(state.dataplane)).join(', ');
    return found.length === 0
      ? 'no agent has left a state file here: is it the right --state-dir'
      : `no such dataplane on this host; there is ${all}`;
  }
  if (others.length === 0) return only;
  const names = [only, ...others].map(({ state }) => describeKey(state.dataplane)).join(', ');
  return `several run on this host, choose one by --mesh and --name: ${names}`;
}
