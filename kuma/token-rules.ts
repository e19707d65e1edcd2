import * as z from 'zod/mini';

import { parseVersion } from './control-plane.ts';
import { describeKey, type DataplaneKey, type DataplaneResource } from './dataplane.ts';
import type { TokenBinding } from './dataplane-token.ts';

/** The dataplane that the holder of a token wants to act on. */
export interface RequestedDataplane {
  readonly key: DataplaneKey;
  /** The object as it is, or as it was last known if it cannot be read now. */
  readonly stored: DataplaneResource | undefined;
  /** The resource that came with the request, if any. */
  readonly brought?: DataplaneResource | undefined;
  /** Of the control plane: the rules differ by line. */
  readonly version: string | undefined;
}

/** `reason` is for the log: the caller does not learn what exists. */
export type Permission = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

/**
 * Whether a token, whose signature, time and revocation were checked, is good for a dataplane. Order and rules are
 * Kuma's.
 *
 * Kuma checks what kuma-dp brings, or the stored object if kuma-dp brings nothing. Here both must pass. Otherwise the
 * holder of a token for one service could take the name of a dataplane of another service by bringing a resource that
 * fits the token. A token that is bound to tags or a workload is refused if there is neither: nothing proves that the
 * name belongs to its service.
 *
 * Kuma 2.13.10, 2.14.2 and later also refuse a token without a workload for a dataplane whose SPIFFE id a MeshIdentity
 * derives from its workload label. That protects certificates. The companion gives out none, so it does not check this.
 *
 * @see kuma pkg/xds/auth/universal/authenticator.go, authDataplane
 */
export function permits(binding: TokenBinding, requested: RequestedDataplane): Permission {
  const { key, stored, brought, version } = requested;
  const misnamed =
    judgeNames(binding, key) ?? (brought === undefined ? undefined : judgeBrought(key, brought));
  if (misnamed !== undefined) return refuse(misnamed);
  if (Object.keys(binding.tags).length === 0 && binding.workload === '') return { allowed: true };
  const rules = rulesOf(version);
  if (rules === undefined) {
    return refuse(
      'the token is bound to tags or a workload, and the version of the control plane is not known',
    );
  }
  const workload = rules.workloads ? binding.workload : '';
  const judged = [stored, brought].filter((resource) => resource !== undefined);
  if (judged.length === 0 && (workload !== '' || Object.keys(binding.tags).length > 0)) {
    return refuse(
      'the token is bound to tags or a workload, and there is no Dataplane object to compare them with',
    );
  }
  const reason = judged
    .map((resource) => judgeTags(binding.tags, rules.tagsOf(resource)) ?? judgeWorkload(workload, resource))
    .find((problem) => problem !== undefined);
  return reason === undefined ? { allowed: true } : refuse(reason);
}

function refuse(reason: string): Permission {
  return { allowed: false, reason };
}

function judgeNames(binding: TokenBinding, key: DataplaneKey): string | undefined {
  if (key.proxyType !== 'dataplane') return `a dataplane token is not for ${describeKey(key)}`;
  if (binding.name !== '' && binding.name !== key.name) {
    return `the token is for name "${binding.name}", not "${key.name}"`;
  }
  if (binding.mesh !== '' && binding.mesh !== key.mesh) {
    return `the token is for mesh "${binding.mesh}", not "${key.mesh}"`;
  }
  return undefined;
}

/** @see kuma pkg/xds/server/callbacks/dataplane_lifecycle.go, validateProxyKey */
function judgeBrought(key: DataplaneKey, { type, mesh, name }: DataplaneResource): string | undefined {
  if (type === 'Dataplane' && name === key.name && (mesh ?? key.mesh) === key.mesh) return undefined;
  return `the resource that it brings is not that of ${describeKey(key)}`;
}

/** The dataplane's tags, with which a token's are compared. `undefined`: unreadable. */
type Tags = ReadonlyMap<string, ReadonlySet<string>> | undefined;

interface Rules {
  readonly tagsOf: (resource: DataplaneResource) => Tags;
  readonly workloads: boolean;
}

/** 0.0.0-preview is what builds from Kuma's main branch call themselves: Kuma 3. */
function rulesOf(version: string | undefined): Rules | undefined {
  const parsed = parseVersion(version);
  if (parsed === undefined) return undefined;
  const [major, minor] = parsed;
  if (major === 0 || major > 2) return { tagsOf: labels, workloads: true };
  return { tagsOf: networkingTags, workloads: major === 2 && minor >= 13 };
}

const TagValues = z.record(z.string(), z.string());
const Tagged = z.looseObject({ tags: z.nullish(TagValues) });
const Networking = z.looseObject({
  inbound: z.nullish(z.array(Tagged)),
  gateway: z.nullish(Tagged),
});

/** All inbounds and the gateway together. @see kuma api/mesh/v1alpha1/dataplane_helpers.go, TagSet */
function networkingTags({ networking }: DataplaneResource): Tags {
  const parsed = z.safeParse(Networking, networking ?? {});
  if (!parsed.success) return undefined;
  const { inbound, gateway } = parsed.data;
  const pairs = [...(inbound ?? []), gateway].flatMap((tagged) => Object.entries(tagged?.tags ?? {}));
  const grouped = Map.groupBy(pairs, ([tag]) => tag);
  return new Map([...grouped].map(([tag, found]) => [tag, new Set(found.map(([, value]) => value))]));
}

function labels(resource: DataplaneResource): Tags {
  return new Map(Object.entries(resource.labels ?? {}).map(([label, value]) => [label, new Set([value])]));
}

/** The dataplane must have every tag of the token, and only values that the token allows. */
function judgeTags(bound: TokenBinding['tags'], found: Tags): string | undefined {
  if (found === undefined) return 'the tags of the dataplane cannot be read';
  for (const [tag, allowed] of Object.entries(bound)) {
    const values = found.get(tag);
    if (values === undefined) return `the dataplane has no tag "${tag}", which the token is bound to`;
    const other = [...values].find((value) => !allowed.includes(value));
    if (other !== undefined) return `the dataplane has ${tag}="${other}", which the token does not allow`;
  }
  return undefined;
}

const WORKLOAD_LABEL = 'kuma.io/workload';

function judgeWorkload(bound: string, resource: DataplaneResource): string | undefined {
  if (bound === '') return undefined;
  const found = resource.labels?.[WORKLOAD_LABEL];
  if (found === bound) return undefined;
  return `the dataplane is of workload "${found ?? ''}", the token of "${bound}"`;
}
