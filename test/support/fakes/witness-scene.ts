import type { PeerConnection } from '../../../control-plane/attached-agent.ts';
import type { EngineSettings } from '../../../control-plane/engine.ts';
import type { ControlPlanes, Store } from '../../../control-plane/ports.ts';
import { STORE_LIMITS } from '../../../control-plane/store/limits.ts';
import type { LossCause } from '../../../control-plane/witness/loss.pure.ts';
import type { TestimonyFinding } from '../../../control-plane/witness/suspicion.pure.ts';
import { INCARNATION_LABEL, type DataplaneResource } from '../../../kuma/dataplane.ts';
import { Owner, Testimony_Result, type Look } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { FakeClock } from '../fake-clock.ts';
import { seededRandom } from '../replicas/random.ts';
import { incarnationOf, keyOf, uuidOf } from './companion-scene.ts';
import type { FakeAgentStream } from './fake-agent-stream.ts';
import { FakeControlPlanes } from './fake-control-planes.ts';
import { FakeZone, type FakePlane } from './fake-zone.ts';
import { MemoryCompanion } from './memory-companion.ts';
import { MemoryDatabase } from './memory-database.ts';
import { MemoryStore } from './memory-store.ts';

const RESULTS: Readonly<Record<TestimonyFinding, Testimony_Result>> = {
  reached: Testimony_Result.REACHED,
  refused: Testimony_Result.REFUSED,
  silent: Testimony_Result.SILENT,
  unable: Testimony_Result.UNABLE,
};
/** How long a look takes, with an answer at once and without one. */
const ANSWER_MS = 360;
const SILENCE_MS = 720;

export interface HostOptions {
  readonly service?: string;
  readonly owner?: Owner;
  readonly looks?: boolean;
  readonly port?: number;
  readonly companion?: MemoryCompanion;
  /** Where its stream comes from, if not from its address. */
  readonly peer?: string;
}

/** One host: its agent's stream, its Envoy, and the answers of its port. */
export class WitnessHost {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly resource: DataplaneResource;
  stream: FakeAgentStream | undefined;
  /** Where its stream comes from. */
  peer: string;
  /** What a witness finds at its port; {@link foundBy} names exceptions by the address of the witness. */
  found: TestimonyFinding = 'reached';
  readonly foundBy = new Map<string, TestimonyFinding>();
  /** How its stream ends, if it does. */
  cause: Exclude<LossCause, 'replica-gone'> = 'closed';
  /** Its answer to a look; by default its findings. */
  answer: (look: Look, findings: readonly TestimonyFinding[]) => readonly TestimonyFinding[] | undefined = (
    _,
    findings,
  ) => findings;
  looks = 0;

  constructor(name: string, address: string, { service = 'web', port = 8080 }: HostOptions) {
    this.name = name;
    this.address = address;
    this.port = port;
    this.peer = address;
    const inbound = [{ port, state: 'Ready', tags: { 'kuma.io/service': service } }];
    this.resource = { type: 'Dataplane', mesh: 'default', name, networking: { address, inbound } };
  }
}

/** A zone of hosts that reach each other or not, with companions that ask them. Only the companion is real. */
export class FakeWitnessZone {
  readonly clock = new FakeClock();
  readonly zone = new FakeZone(this.clock);
  readonly plane: FakePlane = this.zone.addPlane();
  readonly database: MemoryDatabase;
  readonly hosts = new Map<string, WitnessHost>();
  readonly #byAddress = new Map<string, WitnessHost>();
  readonly companions: MemoryCompanion[] = [];
  readonly answers: string[] = [];
  readonly tookMs: number[] = [];
  readonly #settings: Partial<EngineSettings>;

  constructor(settings: Partial<EngineSettings> = {}, kind: 'sqlite' | 'postgres' = 'sqlite') {
    this.#settings = settings;
    this.database = new MemoryDatabase(kind, this.clock, STORE_LIMITS.lockWaitMs);
  }

  companion(
    given: {
      readonly isOn?: boolean;
      readonly store?: (store: Store) => Store;
      readonly controlPlanes?: (controlPlanes: ControlPlanes) => ControlPlanes;
    } = {},
  ): MemoryCompanion {
    const { isOn = true, store = (port) => port, controlPlanes = (port) => port } = given;
    const companion = new MemoryCompanion({
      clock: this.clock,
      store: store(new MemoryStore(this.database, { clock: this.clock })),
      controlPlanes: controlPlanes(new FakeControlPlanes(this.zone)),
      replica: `replica-${this.companions.length + 1}`,
      settings: this.#settings,
      random: seededRandom(this.companions.length + 1),
      connectionOf: (name) => this.#connectionOf(name),
      witness: {
        isOn,
        networks: { permits: (address, peer) => address === peer },
        look: async (targets, control) => {
          const findings = this.#find('companion', targets, control);
          await this.#travel(findings);
          return findings;
        },
        onAnswer: (standing) => this.answers.push(standing),
        onSidelined: (tookMs) => this.tookMs.push(tookMs),
      },
    }).start();
    this.companions.push(companion);
    return companion;
  }

  /** Attaches, is registered, and serves. */
  async serve(name: string, options: HostOptions = {}): Promise<WitnessHost> {
    const address = `10.0.${Math.floor(this.hosts.size / 250)}.${(this.hosts.size % 250) + 1}`;
    const host = this.hosts.get(name) ?? new WitnessHost(name, address, options);
    this.hosts.set(name, host);
    this.#byAddress.set(host.address, host);
    host.peer = options.peer ?? host.peer;
    await this.attach(host, options);
    return host;
  }

  /** @param id of the incarnation */
  async attach(
    host: WitnessHost,
    { owner = Owner.CONTROL_PLANE, looks = true, companion }: HostOptions = {},
    id = 'a',
  ) {
    const [first] = this.companions;
    const at = companion ?? first;
    if (at === undefined) throw new TypeError('There is no companion');
    const stream = at.attach(host.name);
    host.stream = stream;
    stream.onMessage = (message) => {
      if (message.$case === 'look') void this.#look(host, message.value);
    };
    stream.hello({
      incarnation: { ...incarnationOf(host.name, id), address: host.address },
      owner,
      deletable: owner !== Owner.EXTERNAL,
      resource: Buffer.from(JSON.stringify(host.resource)),
      phase: 'starting',
      agentVersion: '0',
      epoch: 0,
      answersAsks: true,
      looks,
      waits: true,
      takesNews: false,
    });
    await this.clock.settle();
    const labels = { [INCARNATION_LABEL]: uuidOf(id) };
    if (owner === Owner.AGENT && this.object(host.name) === undefined)
      this.zone.put(keyOf(host.name), { ...host.resource, labels }, this.plane);
    if (owner === Owner.EXTERNAL && this.object(host.name) === undefined)
      this.zone.put(keyOf(host.name), host.resource, this.plane);
    this.plane.open(keyOf(host.name), owner === Owner.CONTROL_PLANE ? host.resource : undefined);
    stream.phase('running', true);
    await this.clock.settle();
  }

  /** The host is gone: its kernel refuses, or nothing answers. */
  lose(host: WitnessHost, how: 'killed' | 'silent'): void {
    host.found = how === 'killed' ? 'refused' : 'silent';
    host.cause = how === 'killed' ? 'closed' : 'dark';
    if (how === 'killed') this.endXds(host);
    host.stream?.lose();
    host.stream = undefined;
  }

  endXds(host: WitnessHost): void {
    const stream = this.plane.streams.get(`default/${host.name}`);
    if (stream !== undefined) this.plane.end(stream);
  }

  object(name: string): DataplaneResource | undefined {
    return this.zone.find(keyOf(name))?.resource;
  }

  /** The state of its port at the control plane. */
  state(name: string): string | undefined {
    return this.object(name)?.networking?.inbound?.[0]?.state;
  }

  sidelining(name: string) {
    return this.database.tables.sidelinings.get(`default/${name}`);
  }

  /** Waits until every dataplane has three acquaintances. */
  async meet(): Promise<void> {
    await this.clock.pass(30_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.companions.map((companion) => companion.stop()));
  }

  #connectionOf(name: string): PeerConnection | undefined {
    const host = this.hosts.get(name);
    if (host === undefined) return undefined;
    return {
      address: host.peer,
      heardBytes: 0,
      lossCause: () => Promise.resolve(host.cause),
      waits: () => undefined,
      begins: () => undefined,
    };
  }

  async #look(witness: WitnessHost, look: Look): Promise<void> {
    const { stream } = witness;
    witness.looks += 1;
    const control = look.control === undefined ? undefined : { ...look.control, closedPort: look.closedPort };
    const findings = witness.answer(look, this.#find(witness.address, look.targets, control));
    if (findings === undefined) return;
    await this.#travel(findings);
    if (witness.stream !== stream || stream === undefined) return;
    stream.testify({
      id: look.id,
      findings: findings.map((finding, at) => ({
        target: look.targets[at],
        result: RESULTS[finding],
        reason: '',
      })),
    });
  }

  #find(
    witness: string,
    targets: readonly { readonly address: string; readonly port: number }[],
    control: { readonly address: string; readonly port: number; readonly closedPort: number } | undefined,
  ): readonly TestimonyFinding[] {
    const at = (place: { readonly address: string; readonly port: number }): TestimonyFinding => {
      const host = this.#byAddress.get(place.address);
      return host?.port !== place.port ? 'refused' : (host.foundBy.get(witness) ?? host.found);
    };
    const isBlind = control !== undefined && at(control) !== 'reached';
    return targets.map((target) => (isBlind ? 'unable' : at(target)));
  }

  #travel(findings: readonly TestimonyFinding[]): Promise<void> {
    return new Promise((resolve) => {
      const ms = findings.includes('silent') ? SILENCE_MS : findings.includes('reached') ? 5 : ANSWER_MS;
      this.clock.after(ms, resolve);
    });
  }
}
