import type { ZoneIdentity } from '../records.pure.ts';

/**
 * Whether two identities may be of one zone. The names decide if both are known. All zones of one global control plane
 * share its cluster id, so an equal id proves nothing, and a different one decides only without names. A zone that
 * joins a global control plane takes over its cluster id and keeps its name. Zones without a configured name are all
 * called `default`, so there the id decides as well.
 *
 * @see kuma pkg/kds/context/context.go, KDSSyncedConfigs; pkg/config/app/kuma-cp/config.go, Multizone.Zone.Name
 */
export function mayBeSameZone(a: ZoneIdentity, b: ZoneIdentity): boolean {
  const areNamed = a.name !== undefined && b.name !== undefined;
  if (areNamed && a.name !== b.name) return false;
  if (areNamed && a.name !== UNNAMED_ZONE) return true;
  return a.clusterId === undefined || b.clusterId === undefined || a.clusterId === b.clusterId;
}

/** Fills each unknown part from the other identity. */
export function joined(bound: ZoneIdentity, seen: ZoneIdentity): ZoneIdentity {
  return { name: bound.name ?? seen.name, clusterId: bound.clusterId ?? seen.clusterId };
}

/** The identity in words. */
export function describeZone({ name, clusterId }: ZoneIdentity): string {
  const id = clusterId === undefined ? '' : `cluster ${clusterId}`;
  if (name === undefined) return id === '' ? 'an unknown zone' : id;
  return id === '' ? `zone ${name}` : `zone ${name} (${id})`;
}

/** Kuma's name for a zone without a configured name. */
const UNNAMED_ZONE = 'default';
