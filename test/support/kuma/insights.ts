import { randomUUID } from 'node:crypto';

import { type NodeInfo, keyOf } from './bootstrap-protocol.ts';
import { type ControlPlaneSettings, recorded } from './settings.ts';
import { type Fields, type ResourceKey, type KumaStore, type StoredSubscription } from './store.ts';
import { timestampNow } from './timestamp.ts';
import { traitsOf } from './version-traits.ts';

interface RecordedOverview {
  readonly dataplaneInsight: {
    readonly subscriptions: readonly Fields[];
    readonly metadata?: Fields;
  };
}

/**
 * What the control plane writes about a proxy's streams. An insight belongs to its object: nothing is written, and
 * nothing comes back to life, once that is gone.
 */
export class Insights {
  readonly #store: KumaStore;
  readonly #settings: ControlPlaneSettings;
  readonly #instanceId: string;
  /**
   * From a recorded overview: the shape of fields that the emulator does not fill, such as version and
   * acknowledgement counts.
   */
  readonly #template: RecordedOverview['dataplaneInsight'];
  /** Subscriptions that the last look of {@link finalizeGhosts} found without a stream here. */
  #suspects: ReadonlySet<string> = new Set();

  constructor(store: KumaStore, settings: ControlPlaneSettings, instanceId: string) {
    this.#store = store;
    this.#settings = settings;
    this.#instanceId = instanceId;
    this.#template = (
      recorded(settings.version, 'overview-online').body as RecordedOverview
    ).dataplaneInsight;
  }

  /** A subscription for a stream that opens now; not written yet. */
  subscription(node: NodeInfo): StoredSubscription {
    return {
      id: randomUUID(),
      controlPlaneInstanceId: this.#instanceId,
      connectTime: timestampNow(9),
      status: { total: {}, cds: {}, eds: {}, lds: {}, rds: {} },
      version: this.#version(node),
    };
  }

  /** The first configuration was acknowledged. */
  acknowledged(subscription: StoredSubscription): StoredSubscription {
    const status = this.#template.subscriptions[0]?.['status'] as Fields;
    return { ...subscription, status: { ...status, lastUpdateTime: timestampNow(9) } };
  }

  /**
   * Adds or replaces a subscription. A new one ends all that came before it, which is how a ghost of a crashed control
   * plane disappears when its dataplane comes back.
   */
  write(node: NodeInfo, subscription: StoredSubscription): void {
    const key = keyOf(node);
    const existing = this.#store.findInsight(key)?.subscriptions ?? [];
    const known = existing.some(({ id }) => id === subscription.id);
    const subscriptions = known
      ? existing.map((other) => (other.id === subscription.id ? subscription : other))
      : [...existing.map((other) => ended(other)), subscription];
    const metadata = this.#metadata(node);
    this.#store.saveInsight(key, {
      subscriptions: subscriptions.slice(-this.#settings.subscriptionLimit),
      ...(metadata === undefined ? {} : { metadata }),
    });
  }

  /** Whether the last stream of a proxy was with another instance of the control plane. */
  belongsElsewhere(key: ResourceKey): boolean {
    const last = this.#store.findInsight(key)?.subscriptions.at(-1);
    return last !== undefined && last.controlPlaneInstanceId !== this.#instanceId;
  }

  /**
   * Ends subscriptions that had no stream here at this look and the last one: those that a crashed control plane
   * left.
   *
   * @see kuma pkg/gc/finalizer.go
   */
  finalizeGhosts(live: ReadonlySet<string>): void {
    const suspects = new Set<string>();
    for (const type of ['Dataplane', 'ZoneIngress', 'ZoneEgress'] as const) {
      for (const object of this.#store.list(type)) this.#finalize(object, live, suspects);
    }
    this.#suspects = suspects;
  }

  #finalize(key: ResourceKey, live: ReadonlySet<string>, suspects: Set<string>): void {
    const insight = this.#store.findInsight(key);
    if (insight === undefined) return;
    const ghosts = insight.subscriptions.filter(
      ({ id, disconnectTime }) => disconnectTime === undefined && !live.has(id),
    );
    for (const { id } of ghosts) suspects.add(id);
    const proven = ghosts.filter(({ id }) => this.#suspects.has(id));
    if (proven.length === 0) return;
    const subscriptions = insight.subscriptions.map((one) => (proven.includes(one) ? ended(one) : one));
    this.#store.saveInsight(key, { ...insight, subscriptions });
  }

  #version(node: NodeInfo): Fields {
    const template = this.#template.subscriptions[0]?.['version'] as Record<string, Fields>;
    const { version } = this.#settings;
    return {
      ...template,
      kumaDp: { ...template['kumaDp'], version, gitTag: version },
      envoy: { ...template['envoy'], version: envoyVersion(node), build: node.envoyBuild },
    };
  }

  #metadata(node: NodeInfo): Fields | undefined {
    const { metadata } = this.#template;
    if (!traitsOf(this.#settings.version).insightMetadata || metadata === undefined) return undefined;
    const { 'dataplane.resource': _resource, 'dataplane.admin.socketPath': _socket, ...rest } = metadata;
    const version = metadata['version'] as Record<string, Fields>;
    return {
      ...rest,
      'dataplane.proxyType': node.proxyType,
      'dataplane.readinessReporter.port': String(node.readinessPort),
      ...('socket' in node.admin
        ? { 'dataplane.admin.socketPath': node.admin.socket }
        : { 'dataplane.admin.port': String(node.admin.port) }),
      ...(node.resource === undefined ? {} : { 'dataplane.resource': node.resource }),
      version: {
        ...version,
        envoy: { ...version['envoy'], version: envoyVersion(node), build: node.envoyBuild },
      },
      workdir: node.workdir,
    };
  }
}

export function ended(subscription: StoredSubscription): StoredSubscription {
  return { ...subscription, disconnectTime: subscription.disconnectTime ?? timestampNow(9) };
}

function envoyVersion(node: NodeInfo): string {
  return node.envoyBuild.split('/')[1] ?? '';
}
