import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

import { timestampNow } from './timestamp.ts';

/** The object types that come and go with a dataplane. */
export type ResourceType = 'Dataplane' | 'ZoneIngress' | 'ZoneEgress';

export interface ResourceKey {
  readonly type: ResourceType;
  /** Empty for the zone proxies. */
  readonly mesh: string;
  readonly name: string;
}

/** Any JSON object whose fields are not checked yet. */
export type Fields = Readonly<Record<string, unknown>>;

export interface StoredObject extends ResourceKey {
  readonly creationTime: string;
  readonly modificationTime: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Everything but the meta data; for a dataplane `networking` and its siblings. */
  readonly spec: Fields;
}

export interface StoredSubscription extends Fields {
  readonly id: string;
  readonly controlPlaneInstanceId: string;
  readonly connectTime: string;
  readonly disconnectTime?: string;
}

export interface Insight {
  readonly subscriptions: readonly StoredSubscription[];
  readonly metadata?: Fields;
}

export interface SecretKey {
  /** Empty for a global secret. */
  readonly mesh: string;
  readonly name: string;
}

export interface StoredSecret extends SecretKey {
  /** As in the REST API: base64. */
  readonly data: string;
  readonly creationTime: string;
  readonly modificationTime: string;
}

interface Persisted {
  readonly clusterId: string;
  readonly objects: readonly StoredObject[];
  readonly insights: readonly (readonly [string, Insight])[];
  readonly secrets?: readonly StoredSecret[];
}

/**
 * PostgreSQL as Kuma uses it: objects and their insights, which are deleted with their object. With a file, every
 * write is on disk before it is answered, so that `kill -9` loses nothing.
 */
export class KumaStore {
  readonly #file: string | undefined;
  readonly #objects = new Map<string, StoredObject>();
  readonly #insights = new Map<string, Insight>();
  readonly #secrets = new Map<string, StoredSecret>();
  #clusterId: string = randomUUID();

  constructor(file?: string) {
    this.#file = file;
    if (file === undefined || !existsSync(file)) return;
    const persisted = JSON.parse(readFileSync(file, 'utf8')) as Persisted;
    this.#clusterId = persisted.clusterId;
    for (const object of persisted.objects) this.#objects.set(keyText(object), object);
    for (const [key, insight] of persisted.insights) this.#insights.set(key, insight);
    for (const secret of persisted.secrets ?? []) this.#secrets.set(secretText(secret), secret);
  }

  get clusterId(): string {
    return this.#clusterId;
  }

  find(key: ResourceKey): StoredObject | undefined {
    return this.#objects.get(keyText(key));
  }

  /** Objects of a type, by name; of all meshes if `mesh` is left out. */
  list(type: ResourceType, mesh?: string): readonly StoredObject[] {
    return [...this.#objects.values()]
      .filter((object) => object.type === type && (mesh === undefined || object.mesh === mesh))
      .toSorted((a, b) => compare(a.name, b.name) || compare(a.mesh, b.mesh));
  }

  save(object: StoredObject): void {
    this.#objects.set(keyText(object), object);
    this.#persist();
  }

  /** @returns whether it was there */
  delete(key: ResourceKey): boolean {
    const text = keyText(key);
    const existed = this.#objects.delete(text);
    this.#insights.delete(text);
    if (existed) this.#persist();
    return existed;
  }

  findInsight(key: ResourceKey): Insight | undefined {
    return this.#insights.get(keyText(key));
  }

  /** @returns `false`, having written nothing, if the object that would own the insight is gone */
  saveInsight(key: ResourceKey, insight: Insight): boolean {
    const text = keyText(key);
    if (!this.#objects.has(text)) return false;
    this.#insights.set(text, insight);
    this.#persist();
    return true;
  }

  findSecret(key: SecretKey): StoredSecret | undefined {
    return this.#secrets.get(secretText(key));
  }

  /** Of one mesh, or global ones if `mesh` is empty. */
  secrets(mesh: string): readonly StoredSecret[] {
    return [...this.#secrets.values()].filter((secret) => secret.mesh === mesh);
  }

  /** @param data base64 */
  saveSecret({ mesh, name }: SecretKey, data: string): void {
    const modificationTime = timestampNow(6);
    const creationTime = this.findSecret({ mesh, name })?.creationTime ?? modificationTime;
    const secret = { mesh, name, data, creationTime, modificationTime };
    this.#secrets.set(secretText(secret), secret);
    this.#persist();
  }

  /** @returns whether it was there */
  deleteSecret(key: SecretKey): boolean {
    const existed = this.#secrets.delete(secretText(key));
    if (existed) this.#persist();
    return existed;
  }

  #persist(): void {
    if (this.#file === undefined) return;
    const persisted: Persisted = {
      clusterId: this.#clusterId,
      objects: [...this.#objects.values()],
      insights: [...this.#insights],
      secrets: [...this.#secrets.values()],
    };
    const fresh = `${this.#file}.${process.pid}.tmp`;
    writeFileSync(fresh, JSON.stringify(persisted));
    renameSync(fresh, this.#file);
  }
}

function secretText({ mesh, name }: SecretKey): string {
  return `${mesh}/${name}`;
}

export function keyText(key: ResourceKey): string {
  return `${key.type}/${key.mesh}/${key.name}`;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
