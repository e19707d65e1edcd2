import type { DataplaneIdentity } from './dataplane-identity.pure.ts';

/** Who creates the Dataplane object: its control plane, the agent, or an operator. */
export type Owner = 'cp' | 'agent' | 'external';

export interface OwnerChoice {
  readonly owner: Owner;
  /** Why the owner differs from the option. */
  readonly because?: string;
}

/**
 * Chooses the owner of the object from `--lifecycle`, the wrapped command, and whether a companion answers: without
 * one, the object of a killed agent would stay.
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
      because: 'kuma-dp has --name and --mesh: an operator applied the object',
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
  if (key.proxyType !== 'dataplane') return 'a zone proxy cannot be registered unseen before it starts';
  return rewritable
    ? undefined
    : "kuma-dp's command is inside a script or a container's command, so the agent cannot set --name and --mesh";
}

/** Whether a stop deletes the object: an operator's object stays without --delete-external. */
export function isDeletable(owner: Owner, deleteExternal: boolean): boolean {
  return owner !== 'external' || deleteExternal;
}
