import { randomUUID } from 'node:crypto';

import { withAdminClient } from '../../control-plane/server/admin-client.io.ts';
import type {
  DataplaneStatus,
  Departure,
  GetStatusResponse,
  SweepResponse_Candidate as Candidate,
} from '../../proto/gen/deregistrar/v1/admin.ts';
import { Owner } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { AttachedClient, type AttachedClientOptions } from './attached-client.ts';
import { COMPANION_BIN, CompanionProcess, type CompanionOptions } from './companion-process.ts';
import { ControlPlane } from './kuma/control-plane.ts';
import type { RestFault } from './kuma/faults.ts';
import { ResourceManager } from './kuma/resource-manager.ts';
import { specOf } from './kuma/rest-views.ts';
import type { ControlPlaneOptions } from './kuma/settings.ts';
import type { Fields, ResourceKey, StoredObject, StoredSubscription } from './kuma/store.ts';
import { ManagedProcess } from './world/managed-process.ts';
import { TemporaryDir } from './world/temporary-dir.ts';
import { waitUntil } from './world/wait-until.ts';

export interface CompanionWorldOptions {
  readonly controlPlane?: ControlPlaneOptions;
  readonly companion?: Partial<CompanionOptions>;
}

/** Short times, and a brake that lets a handful of fallback deletions of one mesh through. */
const QUICK: Partial<CompanionOptions> = {
  grace: '1s',
  argv: ['--brake-share', '100%', '--brake-min', '10', '--ping-interval', '2s'],
};

/** Dataplanes have run for longer than clocks may differ. */
const A_WHILE_MS = 60_000;

/** How the streams of a dataplane are recorded. */
export interface StreamOptions {
  /** Whether its kuma-dp brought the resource, which Kuma 2.11 and later say. */
  readonly direct?: boolean;
  /** How long ago it began; a minute if left out. */
  readonly connectedForMs?: number;
  /** How long ago it ended; it is online if left out. */
  readonly endedForMs?: number;
  /** At which instance; the one that runs if left out. */
  readonly instanceId?: string;
}

/**
 * A control plane in this process, the companion as a real process beside it, scripted agents, and objects with
 * streams as a kuma-dp would have them. Disposing ends everything.
 */
export class CompanionWorld implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly companion: CompanionProcess;
  readonly dir: TemporaryDir;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    parts: {
      readonly controlPlane: ControlPlane;
      readonly companion: CompanionProcess;
      readonly dir: TemporaryDir;
    },
    resources: AsyncDisposableStack,
  ) {
    this.controlPlane = parts.controlPlane;
    this.companion = parts.companion;
    this.dir = parts.dir;
    this.#resources = resources;
  }

  /** Starts a control plane, and a companion that is ready. */
  static async start(options: CompanionWorldOptions = {}): Promise<CompanionWorld> {
    await using world = new AsyncDisposableStack();
    const created = world.use(await CompanionWorld.create(options));
    await created.companion.start();
    await created.companion.waitUntilReady();
    world.move();
    return created;
  }

  /** The companion is not started. */
  static async create({
    controlPlane = {},
    companion = {},
  }: CompanionWorldOptions = {}): Promise<CompanionWorld> {
    await using opening = new AsyncDisposableStack();
    const dir = opening.use(new TemporaryDir());
    const plane = opening.use(await ControlPlane.start(controlPlane));
    const process = opening.use(
      await CompanionProcess.create({ ...QUICK, kumaApi: [plane.httpUrl], dir: dir.path, ...companion }),
    );
    return new CompanionWorld({ controlPlane: plane, companion: process, dir }, opening.move());
  }

  agent(name: string, options: Partial<AttachedClientOptions> = {}): AttachedClient {
    const agent = new AttachedClient({ address: this.companion.address, name, ...options });
    this.#resources.use(agent);
    return agent;
  }

  /** An agent that owns its object. */
  owner(name: string, options: Partial<AttachedClientOptions> = {}): AttachedClient {
    return this.agent(name, { resource: dataplane(name), hello: { owner: Owner.AGENT }, ...options });
  }

  /** An object as its kuma-dp, or an operator by hand, put it a minute or `agoMs` ago. */
  put(name: string, change: Fields = {}, agoMs = A_WHILE_MS): void {
    const { store, settings } = this.controlPlane;
    const { labels, ...resource } = { ...dataplane(name), ...change };
    new ResourceManager(store, settings).upsert(keyOf(name), {
      spec: specOf(resource),
      labels: (labels ?? {}) as Readonly<Record<string, string>>,
    });
    const object = this.find(name);
    const putTime = new Date(Date.now() - agoMs).toISOString();
    if (object !== undefined) store.save({ ...object, creationTime: putTime, modificationTime: putTime });
  }

  /** A stream of this dataplane at the control plane, as its kuma-dp would have one. */
  connect(name: string, options: StreamOptions = {}): void {
    const { direct = true, connectedForMs = A_WHILE_MS, endedForMs } = options;
    const instanceId = options.instanceId ?? this.controlPlane.instanceId;
    const subscription: StoredSubscription = {
      id: randomUUID(),
      controlPlaneInstanceId: instanceId ?? 'none',
      connectTime: new Date(Date.now() - Math.max(connectedForMs, endedForMs ?? 0)).toISOString(),
      ...(endedForMs === undefined
        ? {}
        : { disconnectTime: new Date(Date.now() - endedForMs).toISOString() }),
      status: { total: {} },
    };
    const metadata = direct ? { 'dataplane.resource': JSON.stringify(dataplane(name)) } : {};
    this.controlPlane.store.saveInsight(keyOf(name), { subscriptions: [subscription], metadata });
  }

  /** Its streams end now. */
  disconnect(name: string): void {
    const { store } = this.controlPlane;
    const insight = store.findInsight(keyOf(name));
    if (insight === undefined) return;
    const disconnectTime = new Date().toISOString();
    const subscriptions = insight.subscriptions.map((each) => ({ disconnectTime, ...each }));
    store.saveInsight(keyOf(name), { ...insight, subscriptions });
  }

  /** An object with a stream: a dataplane that runs. */
  run(name: string, change: Fields = {}): void {
    this.put(name, change);
    this.connect(name);
  }

  /** An attached agent whose dataplane runs. */
  async running(name: string, options: Partial<AttachedClientOptions> = {}): Promise<AttachedClient> {
    this.run(name);
    const agent = this.agent(name, options);
    await agent.attach();
    agent.phase('running', true);
    return agent;
  }

  find(name: string): StoredObject | undefined {
    return this.controlPlane.store.find(keyOf(name));
  }

  async waitUntilGone(name: string, budgetMs = 60_000): Promise<void> {
    await waitUntil(() => this.find(name) === undefined, {
      what: () => `${name} to be gone; ${this.companion.lastOutput}`,
      budgetMs,
    });
  }

  /** How many DELETEs over REST removed an object of this name. */
  deletions(name: string): number {
    return this.controlPlane.journal.events.filter(
      ({ kind, subject }) => kind === 'deleted' && subject === `default/${name}`,
    ).length;
  }

  /** How many requests for this name arrived, with any result. */
  requests(name: string, method = 'DELETE'): number {
    return this.controlPlane.journal.matching(method, new RegExp(`/dataplanes/${name}$`)).length;
  }

  /** @returns a function that ends the fault */
  fault(fault: RestFault): () => void {
    return this.controlPlane.faults.add(fault);
  }

  status(): Promise<GetStatusResponse> {
    return withAdminClient(this.companion.adminSocket, (client) => client.getStatus({ mesh: '' }));
  }

  sweep(dryRun: boolean): Promise<readonly Candidate[]> {
    return withAdminClient(
      this.companion.adminSocket,
      async (client) => (await client.sweep({ dryRun })).candidates,
    );
  }

  /** Its row in `status`. */
  async row(name: string): Promise<DataplaneStatus | undefined> {
    return (await this.status()).dataplanes.find((each) => each.dataplane?.name === name);
  }

  async departure(name: string): Promise<Departure | undefined> {
    return (await this.status()).departures.find((each) => each.dataplane?.name === name);
  }

  /** Waits until `status` shows the wanted fields for this name. */
  waitForRow(name: string, wanted: Partial<DataplaneStatus>, budgetMs = 60_000): Promise<DataplaneStatus> {
    return waitUntil(
      async () => {
        const row = await this.row(name);
        return row !== undefined && matches(row, wanted) ? row : undefined;
      },
      {
        what: () => `${name} to be ${JSON.stringify(wanted)}; ${this.companion.lastOutput}`,
        budgetMs,
        pollMs: 50,
      },
    );
  }

  waitForDeparture(name: string, wanted: Partial<Departure> = {}, budgetMs = 60_000): Promise<Departure> {
    return waitUntil(
      async () => {
        const departure = await this.departure(name);
        return departure !== undefined && matches(departure, wanted) ? departure : undefined;
      },
      { what: () => `${name} to have departed; ${this.companion.lastOutput}`, budgetMs, pollMs: 50 },
    );
  }

  /** The value of a metric: `tokens_rejected_total{reason="unauthenticated"}`; 0 if it is not there. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.companion.httpUrl}/metrics`)).text();
    const line = text.split('\n').find((each) => each.startsWith(`kuma_deregistrar_${name} `));
    return Number(line?.split(' ').at(-1) ?? 0);
  }

  /** Makes the companion list the dataplanes, and returns how many of them are online in its newest list. */
  async listed(): Promise<number> {
    await this.command('sweep', '--dry-run');
    return this.metric('zone_dataplanes{stream="online"}');
  }

  /** A command of the program beside the one that serves. */
  async command(
    ...argv: readonly string[]
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
    const [name = '', ...rest] = argv;
    const own = name === 'doctor' ? rest : ['--admin-socket', this.companion.adminSocket, ...rest];
    await using process = new ManagedProcess({ command: COMPANION_BIN, argv: [name, ...own] });
    const { code } = await process.exited;
    return { code, stdout: process.stdout, stderr: process.stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/** A Dataplane with one inbound of service `web`. */
export function dataplane(name: string, service = 'web'): Fields {
  return {
    type: 'Dataplane',
    mesh: 'default',
    name,
    networking: {
      address: '127.0.0.1',
      inbound: [{ port: 20_000, servicePort: 8_080, tags: { 'kuma.io/service': service } }],
    },
  };
}

function keyOf(name: string): ResourceKey {
  return { type: 'Dataplane', mesh: 'default', name };
}

function matches<T extends object>(found: T, wanted: Partial<T>): boolean {
  return Object.entries(wanted).every(([field, value]) => found[field as keyof T] === value);
}
