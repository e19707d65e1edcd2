import { mkdtempSync } from 'node:fs';

import { withAdminClient } from '../../../control-plane/server/admin-client.io.ts';
import { CompanionProcess, type CompanionOptions } from '../companion-process.ts';
import { FaultProxy } from '../fault-proxy.ts';
import { ControlPlane } from '../kuma/control-plane.ts';
import { ResourceManager } from '../kuma/resource-manager.ts';
import type { StoredObject } from '../kuma/store.ts';
import type { PostgresServer } from '../postgres/postgres-server.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { processState } from '../world/processes.ts';
import { waitUntil } from '../world/wait-until.ts';
import type { HistoryEvent } from './history.ts';
import { ScriptedAgent, type ScriptedAgentOptions } from './scripted-agent.ts';
import { runOf, WatchedStore } from './watched-store.ts';

/** One companion, and the proxies between it and everything else. */
export interface Replica {
  readonly companion: CompanionProcess;
  readonly toDatabase: FaultProxy;
  readonly toControlPlane: FaultProxy;
  readonly toAgents: FaultProxy;
  /** Where agents reach it. */
  readonly address: string;
}

export type ReplicaOptions = Pick<CompanionOptions, 'bin' | 'env' | 'preload'>;

/** Lets every deletion through: these tests are about who may delete, not how many. */
const BRAKE = ['--ping-interval', '2s', '--brake-share', '100%', '--brake-min', '10', '--brake-window', '1m'];

/** Several companions on one PostgreSQL beside one emulated control plane, and agents that attach to any. */
export class ReplicaFleet implements AsyncDisposable {
  readonly graceMs: number;
  readonly events: HistoryEvent[] = [];
  readonly store: WatchedStore;
  readonly controlPlane: ControlPlane;
  readonly replicas: Replica[] = [];
  readonly database: string;
  readonly #postgres: PostgresServer;
  readonly #dir: TemporaryDir;
  readonly #parts: AsyncDisposableStack;
  readonly #agents: ScriptedAgent[] = [];

  private constructor(setting: {
    readonly graceMs: number;
    readonly store: WatchedStore;
    readonly events: HistoryEvent[];
    readonly controlPlane: ControlPlane;
    readonly postgres: PostgresServer;
    readonly database: string;
    readonly dir: TemporaryDir;
    readonly parts: AsyncDisposableStack;
  }) {
    this.graceMs = setting.graceMs;
    this.store = setting.store;
    this.events = setting.events;
    this.controlPlane = setting.controlPlane;
    this.#postgres = setting.postgres;
    this.database = setting.database;
    this.#dir = setting.dir;
    this.#parts = setting.parts;
  }

  /** Without a companion yet. */
  static async create(postgres: PostgresServer, { graceMs = 3_000 } = {}): Promise<ReplicaFleet> {
    await using parts = new AsyncDisposableStack();
    const dir = parts.use(new TemporaryDir());
    const events: HistoryEvent[] = [];
    const store = new WatchedStore((event) => events.push(event));
    const controlPlane = parts.use(await ControlPlane.start({}, store));
    const database = await postgres.createDatabase();
    const fleet = { graceMs, store, events, controlPlane, postgres, database, dir };
    return new ReplicaFleet({ ...fleet, parts: parts.move() });
  }

  /** Starts so many at once, and waits until they are ready. */
  static async start(
    postgres: PostgresServer,
    options: { readonly replicas: number; readonly graceMs?: number },
  ): Promise<ReplicaFleet> {
    await using parts = new AsyncDisposableStack();
    const fleet = parts.use(await ReplicaFleet.create(postgres, options));
    await Promise.all(Array.from({ length: options.replicas }, () => fleet.add()));
    await fleet.waitUntilAcquainted();
    parts.move();
    return fleet;
  }

  /** Waits until each replica knows all the others. */
  async waitUntilAcquainted(): Promise<void> {
    await Promise.all(
      this.replicas.map(({ companion }) =>
        waitUntil(async () => (await replicasKnownTo(companion)) === this.replicas.length, {
          what: 'the replicas to know each other',
          pollMs: 50,
        }),
      ),
    );
  }

  /** Starts one more, and waits until it is ready. */
  async add(options: ReplicaOptions = {}): Promise<Replica> {
    const replica = await this.#create(options);
    await replica.companion.start();
    await replica.companion.waitUntilReady();
    return replica;
  }

  replica(at: number): Replica {
    const replica = this.replicas[at];
    if (replica === undefined) throw new RangeError(`There is no replica ${at}`);
    return replica;
  }

  /** An agent that tries the replicas in the given order, or in the order of their start. */
  agent(
    name: string,
    options: Pick<ScriptedAgentOptions, 'owner'> & { readonly order?: readonly number[] } = {},
  ): ScriptedAgent {
    const { order = this.replicas.map((_, at) => at), owner } = options;
    const addresses = order.map((at) => this.replica(at).address);
    const { controlPlane, store } = this;
    const agent = new ScriptedAgent({
      name,
      addresses,
      controlPlane,
      store,
      owner,
      note: (event) => this.events.push(event),
    });
    this.#agents.push(agent);
    return agent;
  }

  /** A dataplane of the same service that is present throughout, so no other is the last one. */
  addBystander(): void {
    const tags = { 'kuma.io/service': 'web' };
    const spec = { networking: { address: '127.0.0.9', inbound: [{ port: 20_000, tags }] } };
    const key = { type: 'Dataplane', mesh: 'default', name: 'bystander' } as const;
    new ResourceManager(this.store, this.controlPlane.settings).upsert(key, { spec, labels: {} });
  }

  /** The companions' last events, among those that help to find a failure's cause. */
  recentEvents(most = 60): readonly string[] {
    return this.replicas.flatMap(({ companion }) =>
      companion.events.slice(-most).map((event) => JSON.stringify(event)),
    );
  }

  find(name: string): StoredObject | undefined {
    return this.store.find({ type: 'Dataplane', mesh: 'default', name });
  }

  /** The incarnation whose object has this name. */
  holder(name: string): string | undefined {
    const object = this.find(name);
    return object === undefined ? undefined : runOf(object);
  }

  /** When each deletion that had an effect happened, of this incarnation or of all. */
  deletions(incarnation?: string): readonly HistoryEvent[] {
    return this.events.filter(
      (event) => event.kind === 'deleted' && (incarnation === undefined || event.incarnation === incarnation),
    );
  }

  async waitUntilDeleted(agent: ScriptedAgent, budgetMs = 60_000): Promise<HistoryEvent> {
    const what = `${agent.name} ${agent.incarnation} to be deleted`;
    return waitUntil(() => this.deletions(agent.incarnation)[0], { what, budgetMs });
  }

  query(text: string): Promise<readonly unknown[]> {
    return this.#postgres.query(text, this.database);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent[Symbol.asyncDispose]()));
    await this.#parts.disposeAsync();
  }

  async #create(options: ReplicaOptions): Promise<Replica> {
    const parts = this.#parts;
    const dir = mkdtempSync(this.#dir.join('r'));
    const toDatabase = parts.use(await FaultProxy.start(`http://127.0.0.1:${this.#postgres.port}`));
    const toControlPlane = parts.use(await FaultProxy.start(this.controlPlane.httpUrl));
    const companion = parts.use(
      await CompanionProcess.create({
        ...options,
        dir,
        kumaApi: [toControlPlane.url()],
        store: this.#postgres.url(this.database, toDatabase.port),
        grace: `${this.graceMs}ms`,
        argv: BRAKE,
      }),
    );
    const toAgents = parts.use(await FaultProxy.start(`http://${companion.address}`));
    const address = `127.0.0.1:${toAgents.port}`;
    const replica = { companion, toDatabase, toControlPlane, toAgents, address };
    this.replicas.push(replica);
    return replica;
  }
}

async function replicasKnownTo({ adminSocket }: CompanionProcess): Promise<number | undefined> {
  const { store } = await withAdminClient(adminSocket, (client) => client.getStatus({ mesh: '' }));
  return store?.replicas.length;
}

/** Ends the partition: data in transit is lost, and connections are made anew. */
export async function mend(proxy: FaultProxy): Promise<void> {
  await proxy.become({ kind: 'reset' });
  await proxy.become({ kind: 'pass' });
}

/** Whether a replica has stopped by itself, where it was told to. */
export async function waitUntilPaused({ companion: { pid } }: Replica): Promise<void> {
  await waitUntil(() => processState(pid) === 'T', {
    what: 'the replica to stand still',
    budgetMs: 60_000,
    pollMs: 2,
  });
}
