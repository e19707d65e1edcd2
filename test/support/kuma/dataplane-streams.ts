import { type NodeInfo, keyOf } from './bootstrap-protocol.ts';
import { type PauseGate } from './gate.ts';
import { GRPC_STATUS, type GrpcStream } from './grpc-stream.ts';
import { ended, type Insights } from './insights.ts';
import { type Journal } from './journal.ts';
import { decodeMessage, encodeMessage, stringAt } from './protobuf.ts';
import { type ResourceManager } from './resource-manager.ts';
import { specOf } from './rest-views.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type Fields, keyText, type ResourceKey, type KumaStore, type StoredSubscription } from './store.ts';
import { type Timers } from './timers.ts';
import { traitsOf, type VersionTraits } from './version-traits.ts';

export interface StreamDependencies {
  readonly settings: ControlPlaneSettings;
  readonly store: KumaStore;
  readonly manager: ResourceManager;
  readonly insights: Insights;
  readonly journal: Journal;
  readonly gate: PauseGate;
  readonly timers: Timers;
}

interface Connection {
  readonly key: ResourceKey;
  readonly node: NodeInfo;
  readonly stream: GrpcStream;
  subscription: StoredSubscription;
}

const CLUSTER_TYPE = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
const RESPONSE_NONCE = 5;

/**
 * How Kuma treats the ADS streams of its proxies: who may connect, what is registered, recorded and deleted.
 *
 * ```text
 * opened --refused--------------------------------------------------------------> closed
 *    \--(resource given: registered, cache sleep)--> configured --closed--> disconnected
 *          disconnected --(resource given: delay; name still taken)--> deleted | leaked | kept
 * ```
 *
 * @see kuma pkg/xds/server/callbacks/dataplane_lifecycle.go, dataplane_callbacks.go, dataplane_status_tracker.go
 */
export class DataplaneStreams {
  readonly #dependencies: StreamDependencies;
  readonly #traits: VersionTraits;
  /** By object: streams that are open, and those whose end is still being dealt with. */
  readonly #taken = new Map<string, Connection>();
  readonly #open = new Set<Connection>();
  #leaving: 'no' | 'gracefully' | 'crashed' = 'no';

  constructor(dependencies: StreamDependencies) {
    this.#dependencies = dependencies;
    this.#traits = traitsOf(dependencies.settings.version);
  }

  /** Takes over one stream until it ends. */
  async accept(stream: GrpcStream, node: NodeInfo): Promise<void> {
    const { insights, gate } = this.#dependencies;
    const connection: Connection = {
      key: keyOf(node),
      node,
      stream,
      subscription: insights.subscription(node),
    };
    const asked = Promise.withResolvers<void>();
    stream.onMessage((message) => {
      asked.resolve();
      this.#received(connection, message);
    });
    await Promise.race([asked.promise, stream.closed]);
    await gate.passed();
    if (!stream.open) return;
    const refusal = this.#refusalOf(connection);
    if (refusal !== undefined) {
      this.#refuse(connection, refusal);
      return;
    }
    this.#taken.set(keyText(connection.key), connection);
    this.#open.add(connection);
    await this.#serve(connection);
  }

  /** Subscriptions whose stream is open here. */
  liveSubscriptions(): ReadonlySet<string> {
    return new Set([...this.#open].map(({ subscription }) => subscription.id));
  }

  /** Cuts the streams of one proxy or of all; they may come again. */
  drop(name?: string): void {
    for (const { node, stream } of this.#open) if (name === undefined || node.name === name) stream.destroy();
  }

  /** From now on no dataplane is deregistered; a crash does not even record that streams end. */
  leave(how: 'gracefully' | 'crashed'): void {
    this.#leaving = how;
    for (const connection of this.#open) {
      if (how === 'gracefully') this.#recordEnd(connection);
      connection.stream.destroy();
    }
  }

  #refusalOf({ key, node }: Connection): string | undefined {
    if (node.resource === undefined && this.#dependencies.store.find(key) === undefined) {
      return `resource ${JSON.stringify(`${key.mesh}.${key.name}`)} not found; create a ${key.type} in Kuma CP first or pass it as an argument to kuma-dp`;
    }
    if (this.#traits.refusesSecondStream && this.#taken.has(keyText(key))) {
      return 'there is already an active stream from this node, try again later';
    }
    return undefined;
  }

  #refuse({ node, stream }: Connection, reason: string): void {
    this.#dependencies.journal.record('stream-refused', subjectOf(node), reason);
    stream.fail(GRPC_STATUS.unknown, reason);
  }

  async #serve(connection: Connection): Promise<void> {
    const { journal, insights, settings, timers } = this.#dependencies;
    const { node, stream } = connection;
    if (node.resource !== undefined) {
      this.#register(connection.key, node.resource);
      const waitMs = this.#traits.registrationWaitsForCache ? settings.storeCacheMs : 0;
      if (waitMs > 0) await timers.sleep(waitMs);
    }
    if (this.#leaving === 'no' && stream.open) {
      insights.write(node, connection.subscription);
      journal.record('stream-accepted', subjectOf(node));
      stream.send(emptyClusters());
    }
    await stream.closed;
    await this.#closed(connection);
  }

  #register(key: ResourceKey, resource: string): void {
    const body = JSON.parse(resource) as Fields;
    const labels = (body['labels'] ?? {}) as Record<string, string>;
    this.#dependencies.manager.upsert(key, { spec: specOf(body), labels });
    this.#dependencies.journal.record('registered', `${key.mesh}/${key.name}`);
  }

  /** The first request asks, the second acknowledges what was sent. */
  #received(connection: Connection, message: Buffer): void {
    if (stringAt(decodeMessage(message), RESPONSE_NONCE) === '' || !this.#open.has(connection)) return;
    connection.subscription = this.#dependencies.insights.acknowledged(connection.subscription);
    this.#dependencies.insights.write(connection.node, connection.subscription);
  }

  async #closed(connection: Connection): Promise<void> {
    const { gate, journal, settings, timers } = this.#dependencies;
    if (this.#leaving !== 'no') return;
    await gate.passed();
    this.#recordEnd(connection);
    journal.record('stream-closed', subjectOf(connection.node));
    if (connection.node.resource !== undefined) {
      const finished =
        settings.deregistrationDelayMs === 0 || (await timers.sleep(settings.deregistrationDelayMs));
      await gate.passed();
      if (!finished) return;
      this.#deregister(connection);
    }
    const text = keyText(connection.key);
    if (this.#taken.get(text) === connection) this.#taken.delete(text);
  }

  #recordEnd(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    connection.subscription = ended(connection.subscription);
    // A stream that closed before its first flush was never recorded.
    if (this.#isRecorded(connection))
      this.#dependencies.insights.write(connection.node, connection.subscription);
  }

  #isRecorded({ key, subscription }: Connection): boolean {
    const insight = this.#dependencies.store.findInsight(key);
    return insight?.subscriptions.some(({ id }) => id === subscription.id) === true;
  }

  /** One attempt, never repeated. */
  #deregister({ key, node }: Connection): void {
    const { insights, journal, store } = this.#dependencies;
    if (!this.#traits.deletesAfterDisconnect) {
      journal.record(
        'leaked',
        subjectOf(node),
        'could not check if proxy connected to another CP: context canceled',
      );
      return;
    }
    if (insights.belongsElsewhere(key)) return;
    const existed = store.delete(key);
    journal.record('deregistered', subjectOf(node), existed ? 'deleted' : 'not found');
  }
}

/**
 * An answer to the cluster request without any cluster beside the static ones. It lets Envoy continue to its
 * listeners.
 */
function emptyClusters(): Buffer {
  return encodeMessage([
    [1, '1'],
    [4, CLUSTER_TYPE],
    [RESPONSE_NONCE, '1'],
  ]);
}

function subjectOf(node: NodeInfo): string {
  return `${node.mesh}/${node.name}`;
}
