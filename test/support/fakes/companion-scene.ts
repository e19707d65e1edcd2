import type { EngineSettings } from '../../../control-plane/engine.ts';
import type { DataplaneRecord } from '../../../control-plane/records.pure.ts';
import { STORE_LIMITS } from '../../../control-plane/store/limits.ts';
import type { Authenticator, ControlPlanes, Store } from '../../../control-plane/ports.ts';
import { INCARNATION_LABEL, type DataplaneKey, type DataplaneResource } from '../../../kuma/dataplane.ts';
import { Owner, type Hello, type Incarnation } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { FakeClock } from '../fake-clock.ts';
import type { FakeAgentStream } from './fake-agent-stream.ts';
import { FakeControlPlanes } from './fake-control-planes.ts';
import { FakeZone, type FakePlane, type ZoneObject } from './fake-zone.ts';
import { MemoryCompanion } from './memory-companion.ts';
import { MemoryDatabase } from './memory-database.ts';
import { MemoryStore } from './memory-store.ts';

const MESH = 'default';

/** A stream at an instance that was not seen since. */
const GHOST = {
  id: 'ghost',
  controlPlaneInstanceId: 'gone',
  connectTime: '2026-01-01T00:00:00Z',
  disconnectTime: '2026-01-01T00:00:01Z',
};

export function keyOf(name: string): DataplaneKey {
  return { proxyType: 'dataplane', mesh: MESH, name };
}

export function resourceOf(name: string, given: { readonly service?: string } = {}): DataplaneResource {
  const { service = 'web' } = given;
  const inbound = [{ port: 8080, tags: { 'kuma.io/service': service } }];
  return { type: 'Dataplane', mesh: MESH, name, networking: { address: addressOf(name), inbound } };
}

export function incarnationOf(name: string, id: string): Incarnation {
  return { dataplane: { mesh: MESH, name }, id: uuidOf(id), address: addressOf(name) };
}

/** The incarnation as the wire has it: `a` becomes `incarnation-a`. */
export function uuidOf(id: string): string {
  return `incarnation-${id}`;
}

function helloOf(name: string, id: string, given: Partial<Hello> = {}): Hello {
  return {
    incarnation: incarnationOf(name, id),
    owner: Owner.CONTROL_PLANE,
    deletable: true,
    resource: bytesOf(resourceOf(name)),
    phase: 'starting',
    agentVersion: '0',
    epoch: 0,
    answersAsks: true,
    looks: false,
    waits: false,
    takesNews: false,
    ...given,
  };
}

export function bytesOf(resource: DataplaneResource): Buffer {
  return Buffer.from(JSON.stringify(resource));
}

function addressOf(name: string): string {
  return `host-${name}`;
}

/** A zone, a database and companions in one process, in simulated time. */
export class CompanionScene {
  readonly clock = new FakeClock();
  readonly zone = new FakeZone(this.clock);
  readonly plane: FakePlane = this.zone.addPlane();
  readonly database: MemoryDatabase;
  readonly companions: MemoryCompanion[] = [];
  /** Names of dataplanes whose inbounds refuse a companion. */
  readonly refusing = new Set<string>();
  readonly #settings: Partial<EngineSettings>;

  constructor(kind: 'sqlite' | 'postgres' = 'sqlite', settings: Partial<EngineSettings> = {}) {
    this.database = new MemoryDatabase(kind, this.clock, STORE_LIMITS.lockWaitMs);
    this.#settings = settings;
  }

  /** Starts a companion with the ports of this scene, or with others around them. */
  companion(
    given: {
      readonly store?: (store: Store) => Store;
      readonly controlPlanes?: (controlPlanes: ControlPlanes) => ControlPlanes;
      readonly authenticator?: Authenticator;
    } = {},
  ): MemoryCompanion {
    const { store = (port) => port, controlPlanes = (port) => port, authenticator } = given;
    const { clock } = this;
    const companion = new MemoryCompanion({
      clock,
      store: store(new MemoryStore(this.database, { clock })),
      controlPlanes: controlPlanes(new FakeControlPlanes(this.zone)),
      replica: `replica-${this.companions.length + 1}`,
      settings: this.#settings,
      isRefused: ({ key }) => Promise.resolve(this.refusing.has(key.name)),
      ...(authenticator === undefined ? {} : { authenticator }),
    }).start();
    this.companions.push(companion);
    return companion;
  }

  /** An agent attaches; its Envoy, which brings the object, is connected and serves. */
  async serve(companion: MemoryCompanion, name: string, id = 'a'): Promise<FakeAgentStream> {
    const stream = await this.attach(companion, name, { id });
    this.plane.open(keyOf(name), resourceOf(name));
    stream.phase('running', true);
    await this.clock.pass(2_000);
    return stream;
  }

  /** The same for an agent that puts its object itself: no control plane deletes it when its Envoy disconnects. */
  async serveOwn(companion: MemoryCompanion, name: string, id = 'a'): Promise<FakeAgentStream> {
    const stream = await this.attach(companion, name, { id, owner: Owner.AGENT });
    await registerOwn(companion, { name, id, ready: false });
    this.plane.open(keyOf(name), undefined);
    await registerOwn(companion, { name, id, ready: true });
    stream.phase('running', true);
    await this.clock.pass(2_000);
    return stream;
  }

  async attach(
    companion: MemoryCompanion,
    name: string,
    { id = 'a', ...given }: Partial<Hello> & { readonly id?: string } = {},
  ): Promise<FakeAgentStream> {
    const stream = companion.attach(name);
    stream.hello(helloOf(name, id, given));
    await this.clock.settle();
    return stream;
  }

  /** Puts an object that an agent of this incarnation owns. */
  put(name: string, id: string): void {
    const labels = { [INCARNATION_LABEL]: uuidOf(id) };
    this.zone.put(keyOf(name), { ...resourceOf(name), labels }, this.plane);
  }

  object(name: string): ZoneObject | undefined {
    return this.zone.find(keyOf(name));
  }

  record(name: string): DataplaneRecord | undefined {
    return this.database.find(keyOf(name));
  }

  /** How the departures of a name ended, the oldest first. */
  departures(name: string) {
    return this.database.tables.departures
      .filter(({ key }) => key.name === name)
      .map(({ incarnation, cause, outcome, guard }) => ({ incarnation, cause, outcome, guard }));
  }

  /** Envoy's stream to the control plane ends. */
  disconnect(name: string): void {
    const stream = this.plane.streams.get(`${MESH}/${name}`);
    if (stream !== undefined) this.plane.end(stream);
  }

  /** Its stream ended at a control plane that is gone: Envoy is looking for another one. */
  disconnectForGood(name: string): void {
    this.plane.streams.delete(`${MESH}/${name}`);
    this.zone.note(keyOf(name), () => [GHOST]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.companions.map((companion) => companion.stop()));
  }
}

export function registerOwn(
  companion: MemoryCompanion,
  { name, id, ready }: { readonly name: string; readonly id: string; readonly ready: boolean },
) {
  return companion.register({
    incarnation: incarnationOf(name, id),
    resource: bytesOf(resourceOf(name)),
    ready,
    rotation: undefined,
    wish: undefined,
  });
}
