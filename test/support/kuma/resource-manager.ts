import { type Inbound, type Networking, networkingOf } from './dataplane-model.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type Fields, type ResourceKey, type KumaStore, type StoredObject } from './store.ts';
import { timestampNow } from './timestamp.ts';
import { traitsOf, type VersionTraits } from './version-traits.ts';

export interface Written {
  readonly spec: Fields;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Writes objects as the control plane does: completed with labels and the zone's tag, and on *creation* with inbounds
 * that have a service probe set to NotReady.
 *
 * @see kuma v2.14.3 pkg/core/managers/apis/dataplane/dataplane_manager.go, pkg/core/resources/labels/compute.go
 */
export class ResourceManager {
  readonly #store: KumaStore;
  readonly #settings: ControlPlaneSettings;
  readonly #traits: VersionTraits;

  constructor(store: KumaStore, settings: ControlPlaneSettings) {
    this.#store = store;
    this.#settings = settings;
    this.#traits = traitsOf(settings.version);
  }

  /** Creates or replaces, as PUT and the registration of a connected dataplane do. */
  upsert(key: ResourceKey, written: Written): 'created' | 'updated' {
    const existing = this.#store.find(key);
    const now = timestampNow(6);
    const spec = this.#complete(key, written.spec, existing === undefined);
    this.#store.save({
      type: key.type,
      mesh: key.mesh,
      name: key.name,
      creationTime: existing?.creationTime ?? now,
      modificationTime: now,
      labels: this.#labels(key, written.labels),
      spec,
    });
    return existing === undefined ? 'created' : 'updated';
  }

  /** Replaces the inbounds of a dataplane and nothing else. */
  updateInbounds(object: StoredObject, inbound: readonly Inbound[]): void {
    const networking = { ...networkingOf(object.spec), inbound };
    this.#store.save({
      ...object,
      modificationTime: timestampNow(6),
      spec: { ...object.spec, networking },
    });
  }

  #complete(key: ResourceKey, spec: Fields, creating: boolean): Fields {
    if (key.type !== 'Dataplane') return spec;
    const networking = networkingOf(spec);
    const inbound = networking.inbound?.map((one) => this.#completeInbound(one, creating));
    const completed: Networking = {
      ...networking,
      ...(inbound === undefined ? {} : { inbound }),
      ...(networking.gateway === undefined ? {} : { gateway: this.#withZoneTag(networking.gateway) }),
    };
    return { ...spec, networking: completed };
  }

  #completeInbound(inbound: Inbound, creating: boolean): Inbound {
    const { tags, state, ...rest } = inbound;
    const withTags = this.#traits.inboundTags
      ? { tags: { ...tags, 'kuma.io/zone': this.#settings.zone } }
      : {};
    // Ready is the zero value of the field, which Kuma leaves out of its JSON.
    const withState = state === undefined || state === 'Ready' ? {} : { state };
    const completed = { ...rest, ...withTags, ...withState };
    if (!creating || inbound.serviceProbe === undefined) return completed;
    return { ...completed, health: {}, state: 'NotReady' };
  }

  #withZoneTag(gateway: Fields): Fields {
    const tags = gateway['tags'] as Record<string, string> | undefined;
    return { ...gateway, tags: { ...tags, 'kuma.io/zone': this.#settings.zone } };
  }

  #labels(key: ResourceKey, given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const traits = this.#traits;
    if (!traits.labels) return {};
    const computed: Record<string, string> = {
      'kuma.io/env': 'universal',
      'kuma.io/origin': 'zone',
      'kuma.io/zone': this.#settings.zone,
      ...(key.mesh === '' ? {} : { 'kuma.io/mesh': key.mesh }),
      ...given,
    };
    if (traits.displayNameLabel) computed['kuma.io/display-name'] = key.name;
    if (traits.proxyTypeLabel) computed['kuma.io/proxy-type'] = PROXY_TYPE_LABELS[key.type];
    return Object.fromEntries(Object.entries(computed).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

const PROXY_TYPE_LABELS = {
  Dataplane: 'sidecar',
  ZoneIngress: 'zoneingress',
  ZoneEgress: 'zoneegress',
} as const;
