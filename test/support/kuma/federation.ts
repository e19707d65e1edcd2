import { actOnCachedTicks } from './cached-ticks.ts';
import { networkingOf } from './dataplane-model.ts';
import { type PublishedEndpoint } from './endpoints-file.ts';
import { type PauseGate } from './gate.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type Fields, type KumaStore, type StoredObject } from './store.ts';
import { type Timers } from './timers.ts';

/** What a zone shows to others. */
interface RemoteIngress {
  readonly address: string;
  readonly port: number;
  readonly services: readonly string[];
}

interface AvailableService {
  readonly tags: Readonly<Record<string, string>>;
}

export interface ZoneControlPlane {
  readonly settings: ControlPlaneSettings;
  readonly store: KumaStore;
  readonly timers: Timers;
  readonly gate: PauseGate;
}

/**
 * A global control plane, as far as zones learn of each other: which ZoneIngresses exist, where, and for which
 * services. One leg of KDS leads up to the global control plane and one down to each other zone. Each leg acts on a
 * cache of the store at every tick, or, event-based, at every flush.
 *
 * @see kuma v2.14.3 pkg/kds/v2/server, pkg/zone/available_services.go (ZoneIngress.availableServices)
 */
export class Federation {
  readonly #atGlobal = new Map<string, readonly RemoteIngress[]>();
  readonly #atZone = new Map<string, readonly RemoteIngress[]>();

  /** Runs until the zone's control plane ends. */
  join(controlPlane: ZoneControlPlane): void {
    const { settings, store, timers, gate } = controlPlane;
    const { zone } = settings;
    const leg = legOf(settings);
    void actOnCachedTicks({
      timers,
      gate,
      cacheMs: settings.storeCacheMs,
      tickMs: settings.ingressUpdateMs,
      read: () => availableServices(store.list('Dataplane')),
      act: (services) => {
        updateIngresses(store, services);
      },
    });
    void actOnCachedTicks({
      timers,
      gate,
      ...leg,
      read: () => store.list('ZoneIngress').map((ingress) => remoteIngress(ingress)),
      act: (ingresses) => this.#atGlobal.set(zone, ingresses),
    });
    void actOnCachedTicks({
      timers,
      gate,
      ...leg,
      read: () =>
        [...this.#atGlobal].filter(([other]) => other !== zone).flatMap(([, ingresses]) => ingresses),
      act: (ingresses) => this.#atZone.set(zone, ingresses),
    });
  }

  /** The endpoints through which other zones are reached, as a zone knows them now: by service. */
  endpoints(zone: string): ReadonlyMap<string, readonly PublishedEndpoint[]> {
    const byService = new Map<string, PublishedEndpoint[]>();
    for (const { address, port, services } of this.#atZone.get(zone) ?? []) {
      for (const service of services) {
        const endpoints = byService.get(service) ?? [];
        byService.set(service, endpoints);
        // Several ingresses behind one advertised address are one endpoint.
        if (!endpoints.some((one) => one.address === address && one.port === port))
          endpoints.push({ address, port });
      }
    }
    return byService;
  }
}

function legOf({ storeCacheMs, kdsRefreshMs, kdsFlushMs }: ControlPlaneSettings): {
  readonly cacheMs: number;
  readonly tickMs: number;
} {
  return kdsFlushMs === undefined
    ? { cacheMs: storeCacheMs, tickMs: kdsRefreshMs }
    : { cacheMs: 0, tickMs: kdsFlushMs };
}

/** Services of which some inbound is ready. */
function availableServices(dataplanes: readonly StoredObject[]): readonly AvailableService[] {
  const services = dataplanes
    .flatMap(({ spec }) => networkingOf(spec).inbound ?? [])
    .filter(({ state }) => state === undefined || state === 'Ready')
    .flatMap(({ tags }) => tags?.['kuma.io/service'] ?? []);
  return [...new Set(services)].toSorted().map((service) => ({ tags: { 'kuma.io/service': service } }));
}

function updateIngresses(store: KumaStore, services: readonly AvailableService[]): void {
  for (const ingress of store.list('ZoneIngress')) {
    const spec: Fields = { ...ingress.spec, availableServices: services };
    if (JSON.stringify(spec) !== JSON.stringify(ingress.spec)) store.save({ ...ingress, spec });
  }
}

function remoteIngress({ spec }: StoredObject): RemoteIngress {
  const { advertisedAddress = '127.0.0.1', advertisedPort = 0 } = networkingOf(spec);
  const available = (spec['availableServices'] ?? []) as readonly AvailableService[];
  return {
    address: advertisedAddress,
    port: advertisedPort,
    services: available.flatMap(({ tags }) => tags['kuma.io/service'] ?? []),
  };
}
