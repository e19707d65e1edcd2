import { actOnCachedTicks } from './cached-ticks.ts';
import { isReady, networkingOf } from './dataplane-model.ts';
import { egressDir, type PublishedEndpoint, writeEndpoints } from './endpoints-file.ts';
import { type Federation } from './federation.ts';
import { type PauseGate } from './gate.ts';
import { type Journal } from './journal.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type KumaStore, type StoredObject } from './store.ts';
import { type Timers } from './timers.ts';

export interface PublisherDependencies {
  readonly settings: ControlPlaneSettings;
  readonly store: KumaStore;
  readonly journal: Journal;
  readonly gate: PauseGate;
  readonly timers: Timers;
  readonly federation: Federation | undefined;
}

type ByService = ReadonlyMap<string, readonly PublishedEndpoint[]>;

/** What the control plane knows when it reads its store. */
interface Known {
  readonly local: ByService;
  /** Of other zones, where their ingresses are. */
  readonly remote: ByService;
  readonly egresses: readonly PublishedEndpoint[];
}

/** What peers and egresses learn: the endpoints of each service. */
export class EndpointPublisher {
  readonly #dependencies: PublisherDependencies;
  readonly #published = new Map<string, string>();

  constructor(dependencies: PublisherDependencies) {
    this.#dependencies = dependencies;
  }

  async start(): Promise<void> {
    const { gate, settings, timers } = this.#dependencies;
    const { endpointsDir, zoneEgress, storeCacheMs, refreshMs } = settings;
    if (endpointsDir === undefined) return;
    await actOnCachedTicks({
      timers,
      gate,
      cacheMs: storeCacheMs,
      tickMs: refreshMs,
      read: () => this.#read(),
      act: (known) => {
        this.#publish(endpointsDir, merged(known.local, zoneEgress ? through(known) : known.remote));
        if (zoneEgress) this.#publish(egressDir(endpointsDir), known.remote);
      },
    });
  }

  #read(): Known {
    const { store, federation, settings } = this.#dependencies;
    return {
      local: endpointsByService(store.list('Dataplane')),
      remote: federation?.endpoints(settings.zone) ?? new Map(),
      egresses: store.list('ZoneEgress').map(({ spec }) => {
        const { address = '127.0.0.1', port = 0 } = networkingOf(spec);
        return { address, port };
      }),
    };
  }

  #publish(dir: string, services: ByService): void {
    const { journal } = this.#dependencies;
    const forgotten = [...this.#published.keys()]
      .filter((file) => file.startsWith(`${dir}:`))
      .map((file) => file.slice(dir.length + 1))
      .filter((service) => !services.has(service))
      .map((service): [string, readonly PublishedEndpoint[]] => [service, []]);
    for (const [service, endpoints] of [...services, ...forgotten]) {
      const text = endpoints.map(({ address, port }) => `${address}:${port}`).join(' ');
      const file = `${dir}:${service}`;
      if (this.#published.get(file) === text) continue;
      writeEndpoints(dir, service, endpoints);
      this.#published.set(file, text);
      journal.record('published', service, text);
    }
  }
}

/** Each service of other zones at every egress. */
function through({ remote, egresses }: Known): ByService {
  return new Map([...remote.keys()].map((service) => [service, egresses]));
}

function merged(local: ByService, remote: ByService): ByService {
  const all = new Map(local);
  for (const [service, endpoints] of remote) all.set(service, [...(local.get(service) ?? []), ...endpoints]);
  return all;
}

/** By tag `kuma.io/service` up to 2.14, by label `app` on 3. An unready inbound still makes its service known. */
function endpointsByService(objects: readonly StoredObject[]): Map<string, PublishedEndpoint[]> {
  const services = new Map<string, PublishedEndpoint[]>();
  for (const { labels, spec } of objects) {
    const networking = networkingOf(spec);
    for (const inbound of networking.inbound ?? []) {
      const service = inbound.tags?.['kuma.io/service'] ?? labels['app'];
      if (service === undefined) continue;
      const endpoints = services.get(service) ?? [];
      services.set(service, endpoints);
      const address = inbound.address ?? networking.address;
      if (address !== undefined && isReady(inbound)) endpoints.push({ address, port: inbound.port });
    }
  }
  return services;
}
