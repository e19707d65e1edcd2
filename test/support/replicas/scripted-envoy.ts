import { randomUUID } from 'node:crypto';

import type { ControlPlane } from '../kuma/control-plane.ts';
import { ResourceManager } from '../kuma/resource-manager.ts';
import type { Fields, ResourceKey } from '../kuma/store.ts';
import { timestampNow } from '../kuma/timestamp.ts';
import type { WatchedStore } from './watched-store.ts';

export interface ScriptedEnvoyOptions {
  readonly controlPlane: ControlPlane;
  readonly store: WatchedStore;
  readonly key: ResourceKey;
  /** The resource that its kuma-dp brings, if any: the control plane then writes the object as the stream opens. */
  readonly brings: Fields | undefined;
}

/** The records that a control plane makes of a dataplane's stream, without the stream. */
export class ScriptedEnvoy {
  readonly #options: ScriptedEnvoyOptions;
  #subscription: string | undefined;

  constructor(options: ScriptedEnvoyOptions) {
    this.#options = options;
  }

  /** Connects, for the first time or again. @returns whether there is an object to connect to */
  connect(): boolean {
    const { controlPlane, store, key, brings } = this.#options;
    const controlPlaneInstanceId = controlPlane.instanceId;
    if (controlPlaneInstanceId === undefined) return false;
    if (brings !== undefined) {
      store.asStream(() => {
        new ResourceManager(store, controlPlane.settings).upsert(key, { spec: brings, labels: {} });
      });
    }
    const id = randomUUID();
    const disconnectTime = timestampNow(9);
    const earlier = (store.findInsight(key)?.subscriptions ?? []).map((each) => ({
      disconnectTime,
      ...each,
    }));
    const subscription = { id, controlPlaneInstanceId, connectTime: timestampNow(9) };
    this.#subscription = id;
    return store.saveInsight(key, {
      subscriptions: [...earlier, subscription].slice(-2),
      ...(brings === undefined ? {} : { metadata: { 'dataplane.resource': JSON.stringify(brings) } }),
    });
  }

  /** Its stream ends, and a control plane that runs sees it. */
  disconnect(): void {
    const { controlPlane, store, key } = this.#options;
    const insight = store.findInsight(key);
    if (insight === undefined || controlPlane.instanceId === undefined) return;
    const subscriptions = insight.subscriptions.map((each) =>
      each.id === this.#subscription ? { ...each, disconnectTime: timestampNow(9) } : each,
    );
    store.saveInsight(key, { ...insight, subscriptions });
  }
}
