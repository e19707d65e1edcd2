import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';

import type { Introduction, Store } from '../../../control-plane/ports.ts';
import { STORE_LIMITS } from '../../../control-plane/store/limits.ts';
import { openStore, type StoreOptions } from '../../../control-plane/store/open-store.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { MemoryDatabase } from '../../support/fakes/memory-database.ts';
import { MemoryStore } from '../../support/fakes/memory-store.ts';
import { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** The real ones, and the fake of each that unit tests and the simulation use: one contract for all. */
export const STORE_KINDS = ['sqlite', 'postgres', 'fake sqlite', 'fake postgres'] as const;

interface StorePlace {
  /** An unused one. */
  newLocation(): Promise<string>;
  open(location: string, options: StoreOptions): Promise<Store>;
}

/** A PostgreSQL server for the tests of a file or block, and an unused database for each. */
export class PostgresForTests {
  #server: PostgresServer | undefined;
  #database = '';
  #parts = new AsyncDisposableStack();

  constructor() {
    beforeAll(async () => {
      this.#server = await startPostgres();
    });
    afterAll(() => this.#server?.[Symbol.asyncDispose]());
    beforeEach(async () => {
      await this.server.resume();
      this.#parts = new AsyncDisposableStack();
      this.#database = await this.server.createDatabase();
    });
    afterEach(() => this.#parts.disposeAsync());
  }

  get server(): PostgresServer {
    if (this.#server === undefined) throw new Error('Only within a test');
    return this.#server;
  }

  get database(): string {
    return this.#database;
  }

  /** Disposed of after the test. */
  get parts(): AsyncDisposableStack {
    return this.#parts;
  }

  /** A store that is closed after the test. */
  async open(limits: StoreOptions['limits'] = {}, url = this.server.url(this.database)): Promise<Store> {
    const store = await openStore(url, { clock: systemClock, limits });
    this.#parts.defer(() => store.close());
    return store;
  }
}

async function startPostgres(): Promise<PostgresServer> {
  const started = await PostgresServer.start();
  if ('missing' in started) throw new Error(`The store needs a PostgreSQL: ${started.missing}`);
  return started;
}

/** A place for stores of one kind: a folder, a server, or memory. Closes every store that was opened. */
export class StoreWorld implements AsyncDisposable {
  readonly #parts: AsyncDisposableStack;
  readonly #place: StorePlace;
  readonly #open = new Set<Store>();

  private constructor(parts: AsyncDisposableStack, place: StorePlace) {
    this.#parts = parts;
    this.#place = place;
  }

  static async start(kind: (typeof STORE_KINDS)[number]): Promise<StoreWorld> {
    const parts = new AsyncDisposableStack();
    if (kind === 'fake sqlite') return new StoreWorld(parts, inMemory('sqlite'));
    if (kind === 'fake postgres') return new StoreWorld(parts, inMemory('postgres'));
    if (kind === 'sqlite') {
      const dir = parts.use(new TemporaryDir());
      let files = 0;
      const newLocation = (): Promise<string> => Promise.resolve(dir.join(`${(files += 1)}.db`));
      return new StoreWorld(parts, { newLocation, open: openStore });
    }
    const server = parts.use(await startPostgres());
    const newLocation = async (): Promise<string> => server.url(await server.createDatabase());
    return new StoreWorld(parts, { newLocation, open: openStore });
  }

  /** An unused one. */
  newLocation(): Promise<string> {
    return this.#place.newLocation();
  }

  async open(location: string, options: Partial<StoreOptions> = {}): Promise<Store> {
    const store = await this.#place.open(location, { clock: systemClock, ...options });
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

/** A world for all tests of a suite, and an empty store for each, which `use` gets before it begins. */
export function openStores(
  kind: (typeof STORE_KINDS)[number],
  use: (opened: { readonly world: StoreWorld; readonly store: Store }) => void,
): void {
  let world: StoreWorld;
  beforeAll(async () => {
    world = await StoreWorld.start(kind);
  });
  afterAll(() => world[Symbol.asyncDispose]());
  beforeEach(async () => {
    use({ world, store: await world.openNew() });
  });
  afterEach(() => world.closeAll());
}

function inMemory(kind: 'sqlite' | 'postgres'): StorePlace {
  const databases = new Map<string, MemoryDatabase>();
  return {
    newLocation: () => Promise.resolve(`memory ${databases.size}`),
    open: (location, options) => {
      const { lockWaitMs } = { ...STORE_LIMITS, ...options.limits };
      const database = databases.get(location) ?? new MemoryDatabase(kind, systemClock, lockWaitMs);
      databases.set(location, database);
      return Promise.resolve(new MemoryStore(database, options));
    },
  };
}

export function introductionOf(name: string, given: Partial<Introduction> = {}): Introduction {
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
