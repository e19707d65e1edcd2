import type { DataplaneIdentity } from './dataplane-identity.pure.ts';

/** Who creates the Dataplane object: its control plane, the agent, or an operator. */
export type Owner = 'cp' | 'agent' | 'external';

export interface OwnerChoice {
  readonly owner: Owner;
  /** Said when the option asked for something else. */
  readonly because?: string;
}

/**
 * Who owns the object, from `--lifecycle`, from what the wrapped command brings, and from whether a companion stands
 * behind the agent: without one, the object of a killed agent would stay.
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
      because: 'kuma-dp is given --name and --mesh: an operator applied the dataplane',
    };
  }
  const isDataplane = identity.key.proxyType === 'dataplane';
  const wanted = lifecycle === 'auto' ? (hasCompanion && isDataplane ? 'agent' : 'cp') : lifecycle;
  if (wanted !== 'agent') return { owner: wanted };
  const because = hindrance(identity);
  return because === undefined ? { owner: 'agent' } : { owner: 'cp', because };
}

/** Why the agent cannot put the object itself. */
function hindrance({ key, rewritable }: DataplaneIdentity): string | undefined {
  if (key.proxyType !== 'dataplane') return 'a zone proxy cannot be put before it starts without being seen';
  return rewritable
    ? undefined
    : "kuma-dp's words are part of a script or of a container's command, so --name and --mesh cannot be set";
}

/** Whether a stop deletes the object: an object of the operator's stays, unless told. */
export function isDeletable(owner: Owner, deleteExternal: boolean): boolean {
  return owner !== 'external' || deleteExternal;
}
