import { networkingOf } from '../kuma/dataplane-model.ts';
import { KumaStore, type ResourceKey, type StoredObject } from '../kuma/store.ts';
import type { HistoryEvent } from './history.ts';

/** The inbound tag by which a test knows whose object it is. The companion does not know it. */
export const RUN_TAG = 'test-run';

/** A control plane's objects. Records every write and every deletion at the moment it happens. */
export class WatchedStore extends KumaStore {
  readonly #note: (event: HistoryEvent) => void;
  /** Who writes now: a test's own write counts as a dataplane's stream. */
  #byStream = false;

  constructor(note: (event: HistoryEvent) => void) {
    super();
    this.#note = note;
  }

  /** Runs `act` as what a control plane does because a dataplane connects. */
  asStream(act: () => void): void {
    this.#byStream = true;
    try {
      act();
    } finally {
      this.#byStream = false;
    }
  }

  override save(object: StoredObject): void {
    super.save(object);
    const incarnation = runOf(object);
    const by = this.#byStream ? 'stream' : 'rest';
    if (incarnation !== undefined)
      this.#note({ kind: 'put', by, name: object.name, incarnation, atMs: performance.now() });
  }

  override delete(key: ResourceKey): boolean {
    const object = this.find(key);
    const existed = super.delete(key);
    const incarnation = object === undefined ? undefined : runOf(object);
    if (existed && incarnation !== undefined)
      this.#note({ kind: 'deleted', name: key.name, incarnation, atMs: performance.now() });
    return existed;
  }
}

/** The incarnation that wrote it, with or without a label. */
export function runOf({ spec }: StoredObject): string | undefined {
  return networkingOf(spec).inbound?.[0]?.tags?.[RUN_TAG];
}
