import { type Insight, type ResourceType, type StoredObject } from './store.ts';
import { type VersionTraits } from './version-traits.ts';

const META_FIELDS = new Set(['type', 'mesh', 'name', 'creationTime', 'modificationTime', 'labels', 'kri']);

const IDENTIFIER_TYPES: Readonly<Record<ResourceType, string>> = {
  Dataplane: 'dp',
  ZoneIngress: 'zi',
  ZoneEgress: 'ze',
};

/** An object as `GET …/{name}` shows it. */
export function resourceView(object: StoredObject, traits: VersionTraits): Record<string, unknown> {
  return { ...metaView(object, object.type, traits), ...object.spec };
}

/** An object with its insight, as `GET …/{name}/_overview` shows it. */
export function overviewView(
  object: StoredObject,
  insight: Insight | undefined,
  traits: VersionTraits,
): Record<string, unknown> {
  const field = `${object.type.charAt(0).toLowerCase()}${object.type.slice(1)}`;
  return {
    ...metaView(object, `${object.type}Overview`, traits),
    [field]: object.spec,
    [`${field}Insight`]: insightView(insight, traits),
  };
}

/** The specification in a PUT body: everything that is not meta data. */
export function specOf(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([field]) => !META_FIELDS.has(field)));
}

function metaView(object: StoredObject, type: string, traits: VersionTraits): Record<string, unknown> {
  const { mesh, name, creationTime, modificationTime, labels } = object;
  const zone = labels['kuma.io/zone'] ?? '';
  const kri = `kri_${IDENTIFIER_TYPES[object.type]}_${mesh}_${zone}__${name}_`;
  return {
    type,
    ...(mesh === '' ? {} : { mesh }),
    name,
    creationTime,
    modificationTime,
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(traits.resourceIdentifier ? { kri } : {}),
  };
}

function insightView(insight: Insight | undefined, traits: VersionTraits): Record<string, unknown> {
  if (insight === undefined) return {};
  const { subscriptions, metadata } = insight;
  return { subscriptions, ...(traits.insightMetadata && metadata !== undefined ? { metadata } : {}) };
}
