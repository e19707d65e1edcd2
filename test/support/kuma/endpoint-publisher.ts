import { isReady, networkingOf } from './dataplane-model.ts';
import { type Endpoint, writeEndpoints } from './endpoints-file.ts';
import { type Gate } from './gate.ts';
import { type Journal } from './journal.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type Store, type StoredObject } from './store.ts';
import { type Timers } from './timers.ts';

export interface PublisherDependencies {
  readonly settings: ControlPlaneSettings;
  readonly store: Store;
  readonly journal: Journal;
  readonly gate: Gate;
  readonly timers: Timers;
}

/**
 * What peers learn: the endpoints of each service, read from a cache of the store at every tick. The cache and the tick
 * run on their own, so a change is out after 0 ms to the sum of both.
 */
export class EndpointPublisher {
  readonly #dependencies: PublisherDependencies;
  #cached: readonly StoredObject[] = [];
  readonly #published = new Map<string, string>();

  constructor(dependencies: PublisherDependencies) {
    this.#dependencies = dependencies;
  }

  async start(): Promise<void> {
    const { gate, settings, store, timers } = this.#dependencies;
    this.#cached = store.list('Dataplane');
    this.#publish();
    timers.every(settings.refreshMs, () => {
      if (!gate.closed) this.#publish();
    });
    // Other readers fill Kuma's cache at any time: the phase of its expiry has nothing to do with that of the tick.
    await timers.sleep(Math.random() * settings.storeCacheMs);
    timers.every(Math.max(1, settings.storeCacheMs), () => {
      if (!gate.closed) this.#cached = store.list('Dataplane');
    });
  }

  #publish(): void {
    const { settings, journal } = this.#dependencies;
    const { endpointsDir } = settings;
    if (endpointsDir === undefined) return;
    const services = endpointsByService(this.#cached);
    for (const service of this.#published.keys()) if (!services.has(service)) services.set(service, []);
    for (const [service, endpoints] of services) {
      const text = endpoints.map(({ address, port }) => `${address}:${port}`).join(' ');
      if (this.#published.get(service) === text) continue;
      writeEndpoints(endpointsDir, service, endpoints);
      this.#published.set(service, text);
      journal.record('published', service, text);
    }
  }
}

/** By tag `kuma.io/service` up to 2.14, by label `app` on 3. An unready inbound still makes its service known. */
function endpointsByService(objects: readonly StoredObject[]): Map<string, Endpoint[]> {
  const services = new Map<string, Endpoint[]>();
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
