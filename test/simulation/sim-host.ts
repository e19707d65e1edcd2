import type { DataplaneKey, DataplaneResource } from '../../kuma/dataplane.ts';
import type { FakePlane, ZoneStream } from '../support/fakes/fake-zone.ts';
import { SimAgent } from './sim-agent.ts';
import type { SimNetwork } from './sim-network.ts';
import { SimProcess } from './sim-process.ts';
import type { Flaw } from './sim-witness.ts';

const ENVOY_BACKOFF_MS = 30_000;
const SERVING_AFTER_MS = 1_000;

/** One run of kuma-dp and its Envoy: the truth, which the companion can only guess. */
export class SimRun {
  readonly id: string;
  readonly host: SimHost;
  readonly envoy: SimProcess;
  readonly agent: SimAgent;
  /** Who puts its object: its agent, or the control plane when Envoy connects. */
  owner: 'cp' | 'agent';
  /** Its operator asked it to stop. */
  stopping = false;
  serving = false;
  servingSinceMs = 0;
  stream: ZoneStream | undefined;
  /** Its control plane ended, and no other one has shown its stream since. */
  isReconnecting = false;
  /** When a companion or a control plane last could tell that it lives. */
  lastLifeMs: number;
  readonly #network: SimNetwork;

  constructor(id: string, host: SimHost, owner: 'cp' | 'agent') {
    this.id = id;
    this.host = host;
    this.owner = owner;
    this.#network = host.network;
    const { timeline } = host.network;
    this.lastLifeMs = timeline.monotonicMs();
    this.envoy = new SimProcess(timeline);
    this.envoy.onDeath = () => {
      this.serving = false;
      this.loseStream(host.planesCut ? this.#network.planeSilenceMs : 0);
    };
    this.agent = new SimAgent(this);
  }

  get resource(): DataplaneResource {
    const { name, address, port, service, calls } = this.host;
    const inbound = [{ port, tags: { 'kuma.io/service': service, run: this.id } }];
    const outbound = calls.map((each) => ({ port: 10_000, tags: { 'kuma.io/service': each } }));
    const networking = { address, inbound, ...(outbound.length === 0 ? {} : { outbound }) };
    return { type: 'Dataplane', mesh: 'default', name, networking };
  }

  /** Whether its Envoy serves and no stop was requested. */
  get lives(): boolean {
    return !this.envoy.isDead && !this.stopping;
  }

  get isOver(): boolean {
    return this.envoy.isDead && this.agent.process.isDead;
  }

  /** Whether a companion that holds its stream, or a control plane that has recorded its own, can tell now that it lives. */
  get isSeen(): boolean {
    const { stream } = this;
    const isConnected = stream?.plane.shows(stream) === true && !this.envoy.isDead;
    return isConnected || this.agent.isAttached;
  }

  /** Envoy looks for a control plane, for as long as it lives. */
  async connect(): Promise<void> {
    const { random } = this.#network;
    for (let patienceMs = 1_000; ; patienceMs = Math.min(ENVOY_BACKOFF_MS, patienceMs * 2)) {
      const stream = this.#pickPlane()?.open(this.host.key, this.owner === 'cp' ? this.resource : undefined);
      if (stream !== undefined) {
        this.#use(stream);
        return;
      }
      await new Promise<void>((resolve) => {
        this.envoy.after(random() * patienceMs, resolve);
      });
    }
  }

  /** The control plane notices after `unseenMs` that its stream has ended. */
  loseStream(unseenMs: number): void {
    const { stream } = this;
    if (stream === undefined) return;
    if (stream.plane.shows(stream)) this.isReconnecting = false;
    this.stream = undefined;
    stream.onLost = () => {};
    const { timeline } = this.#network;
    this.lastLifeMs = timeline.monotonicMs();
    timeline.after(unseenMs, () => {
      stream.plane.end(stream);
    });
  }

  #use(stream: ZoneStream): void {
    this.stream = stream;
    stream.onLost = () => {
      this.stream = undefined;
      this.isReconnecting = true;
      this.lastLifeMs = this.#network.timeline.monotonicMs();
      this.envoy.after(this.#network.random() * ENVOY_BACKOFF_MS, () => void this.connect());
    };
    this.envoy.after(SERVING_AFTER_MS, () => {
      if (this.serving) return;
      this.serving = true;
      this.servingSinceMs = this.#network.timeline.monotonicMs();
      this.agent.served();
    });
  }

  #pickPlane(): FakePlane | undefined {
    const { zone, random } = this.#network;
    if (this.host.planesCut) return undefined;
    const up = zone.planes.filter(({ isUp }) => isUp);
    return up[Math.floor(random() * up.length)];
  }
}

interface Place {
  readonly name: string;
  readonly address: string;
  readonly service: string;
  readonly calls: readonly string[];
}

/** A machine on which one dataplane name runs, again and again. */
export class SimHost {
  readonly key: DataplaneKey;
  readonly name: string;
  readonly address: string;
  readonly network: SimNetwork;
  readonly port = 80;
  readonly service: string;
  /** Services that it calls. */
  readonly calls: readonly string[];
  /** The newest; those before may still be seen, but are over. */
  run: SimRun | undefined;
  companionCut = false;
  planesCut = false;
  /** Its kernel is gone as well. */
  hasNoPower = false;
  /** What is wrong with it as a witness. */
  flaw: Flaw | undefined;
  /** Until when its agent waits its longest between two tries to attach. */
  slowUntilMs = 0;
  readonly #onRun: (run: SimRun) => void;
  #runs = 0;

  constructor({ name, address, service, calls }: Place, network: SimNetwork, onRun: (run: SimRun) => void) {
    this.name = name;
    this.address = address;
    this.service = service;
    this.calls = calls;
    this.key = { proxyType: 'dataplane', mesh: 'default', name };
    this.network = network;
    this.#onRun = onRun;
  }

  start(owner: 'cp' | 'agent'): void {
    if (this.run?.isOver === false) return;
    this.#runs += 1;
    this.hasNoPower = false;
    this.run = new SimRun(`${this.address.replaceAll('.', '-')}-run-${this.#runs}`, this, owner);
    this.#onRun(this.run);
    void this.run.agent.live();
  }

  /** An operator stops it: agent, kuma-dp and Envoy. @param drainMs how long its last requests take */
  stop(drainMs?: number): void {
    const { run } = this;
    if (run === undefined || run.stopping || run.agent.process.isDead) return;
    run.stopping = true;
    void run.agent.leave(drainMs);
  }

  /** Everything on it ends at once, and others notice after `unseenMs`. */
  crash(unseenMs: number): void {
    const { run } = this;
    if (run === undefined) return;
    this.hasNoPower = unseenMs > 0;
    run.agent.loseLink(Math.min(unseenMs, this.network.silenceMs), unseenMs > 0 ? 'dark' : 'closed');
    run.loseStream(unseenMs);
    run.agent.process.die();
    run.envoy.die();
  }

  cutCompanion(): void {
    this.companionCut = true;
    this.run?.agent.fallSilent();
  }

  cutPlanes(): void {
    this.planesCut = true;
    const { run } = this;
    const stream = run?.stream;
    if (stream === undefined) return;
    this.network.timeline.after(this.network.planeSilenceMs, () => {
      if (!this.planesCut || run?.stream !== stream) return;
      run.loseStream(0);
      run.envoy.after(this.network.random() * ENVOY_BACKOFF_MS, () => void run.connect());
    });
  }

  join(): void {
    this.companionCut = false;
    this.planesCut = false;
    this.run?.agent.flush();
  }
}
