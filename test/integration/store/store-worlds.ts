import type { Arrival, Store } from '../../../control-plane/ports.ts';
import { openStore, type StoreOptions } from '../../../control-plane/store/open-store.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

export const STORE_KINDS = ['sqlite', 'postgres'] as const;

/** Where stores of one kind live: a folder, or a server. Closes whatever was opened. */
export class StoreWorld implements AsyncDisposable {
  readonly #parts: AsyncDisposableStack;
  readonly #newLocation: () => Promise<string>;
  readonly #open = new Set<Store>();

  private constructor(parts: AsyncDisposableStack, newLocation: () => Promise<string>) {
    this.#parts = parts;
    this.#newLocation = newLocation;
  }

  static async start(kind: (typeof STORE_KINDS)[number]): Promise<StoreWorld> {
    const parts = new AsyncDisposableStack();
    if (kind === 'sqlite') {
      const dir = parts.use(new TemporaryDir());
      let files = 0;
      return new StoreWorld(parts, () => Promise.resolve(dir.join(`${(files += 1)}.db`)));
    }
    const server = await PostgresServer.start();
    if ('missing' in server) throw new Error(`The store needs a PostgreSQL: ${server.missing}`);
    parts.use(server);
    return new StoreWorld(parts, async () => server.url(await server.createDatabase()));
  }

  /** One that nobody has used. */
  newLocation(): Promise<string> {
    return this.#newLocation();
  }

  async open(location: string, options: Partial<StoreOptions> = {}): Promise<Store> {
    const store = await openStore(location, { clock: systemClock, ...options });
    this.#open.add(store);
    return store;
  }

  /** An empty one. */
  async openNew(options: Partial<StoreOptions> = {}): Promise<Store> {
    return this.open(await this.newLocation(), options);
  }

  async close(store: Store): Promise<void> {
    this.#open.delete(store);
    await store.close();
  }

  async closeAll(): Promise<void> {
    for (const store of this.#open) await this.close(store);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeAll();
    await this.#parts.disposeAsync();
  }
}

export function arrivalOf(name: string, given: Partial<Arrival> = {}): Arrival {
  return {
    key: { proxyType: 'dataplane', mesh: 'default', name },
    incarnation: 'first',
    owner: 'agent',
    deletable: true,
    address: '10.0.0.1',
    resource: `{"name":"${name}"}`,
    phase: 'starting',
    ...given,
  };
}

/** Until the store's clock has moved on. */
export async function tick(store: Store): Promise<void> {
  const beforeMs = await store.nowMs();
  await waitUntil(async () => (await store.nowMs()) > beforeMs, { what: 'a millisecond', pollMs: 1 });
}
