import type { DataplaneIdentity } from './dataplane-identity.pure.ts';

/** Who creates the Dataplane object: its control plane, the agent, or somebody else. */
export type Owner = 'cp' | 'agent' | 'external';

export interface OwnerChoice {
  readonly owner: Owner;
  /** Said when the option asked for something else. */
  readonly because?: string;
}

/**
 * Who owns the object, from `--lifecycle`, from what the wrapped command brings, and from whether a companion stands
 * behind the agent: without one, nobody would clean up after an agent that was killed.
 */
export function chooseOwner(
  lifecycle: 'auto' | Owner,
  identity: DataplaneIdentity,
  hasCompanion: boolean,
): OwnerChoice {
  if (identity.binding === 'indirect') {
    if (lifecycle === 'auto' || lifecycle === 'external') return { owner: 'external' };
    return {
      owner: 'external',
      because: 'kuma-dp is given --name and --mesh: somebody else applied the dataplane',
    };
  }
  if (lifecycle === 'agent' && identity.key.proxyType !== 'dataplane') {
    return { owner: 'cp', because: 'a zone proxy cannot be put before it starts without being seen' };
  }
  if (lifecycle !== 'auto') return { owner: lifecycle };
  return { owner: hasCompanion && identity.key.proxyType === 'dataplane' ? 'agent' : 'cp' };
}

/** Whether a stop takes the object away: one that somebody else applied stays, unless told. */
export function isDeletable(owner: Owner, deleteExternal: boolean): boolean {
  return owner !== 'external' || deleteExternal;
}
