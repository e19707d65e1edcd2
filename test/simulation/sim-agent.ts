import { INCARNATION_LABEL, type DataplaneKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import {
  ConfirmResponse_Verdict as Verdict,
  Owner,
  type AttachResponse,
  type Incarnation,
  type Look,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { FakeAgentStream } from '../support/fakes/fake-agent-stream.ts';
import type { MemoryCompanion } from '../support/fakes/memory-companion.ts';
import type { PeerConnection } from '../../control-plane/attached-agent.ts';
import type { Loss } from '../../control-plane/witness/loss.pure.ts';
import type { SimNetwork } from './sim-network.ts';
import { SimProcess } from './sim-process.ts';
import { SimWitness, type Flaw } from './sim-witness.ts';

/** An open stream to one process of a companion. */
interface Link {
  readonly process: SimProcess;
  readonly stream: FakeAgentStream;
  /** What waits until nothing cuts the two from each other. */
  readonly waiting: (() => void)[];
  /** Whether the Hello reached a process that runs. */
  heard: boolean;
  /** Whether the companion answered. */
  attached: boolean;
  /** How it ended, as the companion's kernel has it. */
  cause: Loss['cause'];
}

const TRAVEL_MS = 1;
/** Between two tries to attach. */
const PACE_MS = 1_000;
/** An agent's longest pause, and a connect that times out: less than agents of a lost replica have. */
const LONGEST_PACE_MS = 13_000;
const ATTACH_MS = 2_000;
const ATTACH_PATIENCE_MS = 1_000;
const PUT_PATIENCE_MS = 800;
const DEREGISTER_MS = 5_000;
const SETTLE_MS = 2_250;
const DRAIN_MS = 10_000;
const LOOK_MS = 5_000;
const CONFIRMATIONS = 4;
/** The companion's ping and its patience. */
const PING_MS = 75_000;

/** The run that an agent looks after, and the host that it runs on. */
interface AgentRun {
  readonly id: string;
  readonly host: {
    readonly key: DataplaneKey;
    readonly name: string;
    readonly address: string;
    readonly network: SimNetwork;
    readonly companionCut: boolean;
    readonly planesCut: boolean;
    readonly flaw: Flaw | undefined;
    readonly slowUntilMs: number;
  };
  readonly envoy: SimProcess;
  readonly resource: DataplaneResource;
  readonly lives: boolean;
  readonly stopping: boolean;
  readonly serving: boolean;
  owner: 'cp' | 'agent';
  lastLifeMs: number;
  connect(): Promise<void>;
}

/** What an agent says and does, as far as a companion can tell. */
export class SimAgent {
  readonly process: SimProcess;
  link: Link | undefined;
  readonly #witness: SimWitness | undefined;
  /** The highest that it was given. */
  #epoch = 0;
  /** It was sent away from here: the next try goes to another one, if there is one. */
  #redirectedBy: SimProcess | undefined;
  readonly #run: AgentRun;
  readonly #network: SimNetwork;

  constructor(run: AgentRun) {
    this.#run = run;
    this.#network = run.host.network;
    this.process = new SimProcess(this.#network.timeline);
    const { reach, silenceMs } = this.#network;
    if (reach !== undefined) this.#witness = new SimWitness(this.process, run.host.address, reach);
    this.process.onDeath = () => {
      const isCut = run.host.companionCut;
      this.loseLink(isCut ? silenceMs : TRAVEL_MS, isCut ? 'dark' : 'closed');
    };
  }

  get isAttached(): boolean {
    return this.link?.attached === true;
  }

  /** Attaches, puts the object if it owns it, and starts kuma-dp, whatever came of that. */
  async live(): Promise<void> {
    const run = this.#run;
    this.#attach();
    for (let waitedMs = 0; !this.isAttached && waitedMs < ATTACH_PATIENCE_MS; waitedMs += 100)
      await this.#pause(100);
    const owns = run.owner === 'agent' && this.isAttached && (await this.#register(false));
    if (!owns) run.owner = 'cp';
    if (run.stopping) return;
    void run.connect();
    await this.#lookAfterObject();
  }

  /** Its Envoy has begun to serve. */
  served(): void {
    this.#say((stream) => {
      stream.phase(this.#run.stopping ? 'draining' : 'running', true);
    });
    if (this.#run.owner === 'agent' && !this.#run.stopping) void this.#register(true);
  }

  /** An orderly stop, from the first word to the last. */
  async leave(drainMs?: number): Promise<void> {
    const run = this.#run;
    const { random, timeline } = this.#network;
    this.#say((stream) => {
      stream.phase('deregistering', run.serving);
    });
    const untilMs = timeline.monotonicMs() + DEREGISTER_MS;
    let isDone = false;
    while (!isDone && timeline.monotonicMs() < untilMs) {
      isDone = await this.#deregister();
      if (!isDone) await this.#pause(200);
    }
    if (!isDone) this.#deleteItself();
    await this.#drain(SETTLE_MS + (drainMs ?? random() * DRAIN_MS));
    run.envoy.die();
    for (let left = CONFIRMATIONS; left > 0; left -= 1) {
      const answer = await this.#ask(1_000, (companion) =>
        companion.confirm({ incarnation: this.#incarnation, serving: false }, 1_000),
      );
      if (answer !== undefined && answer.verdict !== Verdict.WAIT) break;
      await this.#pause(1_000);
    }
    // The companion cannot hear of the end, and notices that the stream is silent.
    if (!run.host.companionCut) {
      this.#say((stream) => {
        stream.close();
      });
      this.link = undefined;
    }
    this.process.die();
  }

  /** The companion notices after `unseenMs` that the stream has ended. */
  loseLink(unseenMs: number, cause: Loss['cause'] = 'closed'): void {
    const { link } = this;
    if (link === undefined) return;
    link.cause = cause;
    this.#forget(link);
    this.#network.timeline.after(unseenMs, () => {
      link.process.after(0, () => {
        link.stream.lose();
      });
    });
  }

  /** Nothing goes through any more: each side gives up on the other, unless that ends before. */
  fallSilent(): void {
    const { link } = this;
    if (link === undefined) return;
    this.#network.timeline.after(this.#network.silenceMs, () => {
      const isSilent = this.#run.host.companionCut || link.process.isPaused;
      if (this.link === link && isSilent) this.loseLink(0, 'dark');
    });
  }

  /** What a companion of another kind may ask, once a millisecond. */
  lookAt(address: string, times: number): void {
    const { link } = this;
    if (link === undefined) return;
    for (let id = 1; id <= times; id += 1) {
      const timeout = { seconds: 2, nanos: 0 };
      const value = { id: -id, targets: [{ address, port: 80 }], control: undefined, closedPort: 0, timeout };
      this.#network.timeline.after(id, () => {
        this.#travelBack(link, { $case: 'look', value });
      });
    }
  }

  /** It answers no ping for so long that the companion gives it up, although its kernel answers. */
  freeze(forMs: number): void {
    const { link } = this;
    this.process.pause(forMs);
    if (link === undefined || forMs < PING_MS) return;
    this.#network.timeline.after(PING_MS, () => {
      if (this.link === link && this.process.isPaused) this.loseLink(0, 'pinged-out');
    });
  }

  /** The companion's process has ended. */
  noticeDeath(process: SimProcess): void {
    const { link } = this;
    if (link?.process !== process) return;
    this.process.after(this.#run.host.companionCut ? this.#network.silenceMs : TRAVEL_MS, () => {
      this.#forget(link);
    });
  }

  /** The way is open again. */
  flush(): void {
    const waiting = this.link?.waiting.splice(0) ?? [];
    for (const send of waiting) send();
  }

  #attachSoon(): void {
    const isSlow = this.#network.timeline.monotonicMs() < this.#run.host.slowUntilMs;
    const paceMs = isSlow ? LONGEST_PACE_MS : PACE_MS * (0.5 + this.#network.random());
    this.process.after(paceMs, () => {
      this.#attach();
    });
  }

  #attach(): void {
    const { owner, serving, stopping, resource, host } = this.#run;
    const found = this.#pickCompanion(this.#redirectedBy);
    this.#redirectedBy = undefined;
    if (found === undefined) {
      this.#attachSoon();
      return;
    }
    const { companion, process } = found;
    const connection: PeerConnection = {
      address: host.address,
      heardBytes: 0,
      waits: () => undefined,
      begins: () => undefined,
      lossCause: () => Promise.resolve(link.cause),
    };
    const stream = companion.attach(host.name, this.#network.connections.open(connection));
    stream.answersAsks = false;
    const link: Link = { process, stream, waiting: [], heard: false, attached: false, cause: 'closed' };
    this.link = link;
    // A companion that does not answer is given up, and another one is tried.
    this.process.after(ATTACH_MS, () => {
      if (this.link === link && stream.received.length === 0) this.loseLink(TRAVEL_MS);
    });
    stream.onMessage = (message) => {
      if (!process.isDead) this.#travelBack(link, message);
    };
    stream.onEnd = () => {
      if (process.isDead) return;
      this.#travel(link, () => {
        this.#forget(link);
      });
    };
    this.#say((wire) => {
      link.heard = true;
      wire.hello({
        incarnation: this.#incarnation,
        owner: owner === 'agent' ? Owner.AGENT : Owner.CONTROL_PLANE,
        deletable: true,
        resource: Buffer.from(JSON.stringify(resource)),
        phase: stopping ? 'draining' : serving ? 'running' : 'starting',
        agentVersion: '0',
        epoch: this.#epoch,
        answersAsks: true,
        looks: this.#witness !== undefined,
        waits: false,
        takesNews: false,
      });
      if (serving) wire.phase(stopping ? 'draining' : 'running', true);
    });
  }

  #travelBack(link: Link, message: NonNullable<AttachResponse['message']>): void {
    this.#travel(link, () => {
      if (this.link === link) this.#hear(link, message);
    });
  }

  /** From the companion to the agent. */
  #travel(link: Link, hear: () => void): void {
    const arrive = (): void => {
      this.process.after(TRAVEL_MS, hear);
    };
    if (this.#run.host.companionCut) link.waiting.push(arrive);
    else arrive();
  }

  #hear(link: Link, message: NonNullable<AttachResponse['message']>): void {
    if (message.$case === 'redirected') {
      this.#redirectedBy = link.process;
      this.loseLink(TRAVEL_MS);
    }
    if (message.$case === 'attached') {
      link.attached = message.value.held === '';
      this.#epoch = Math.max(this.#epoch, message.value.epoch);
    }
    if (message.$case === 'look') void this.#look(link, message.value);
    if (message.$case !== 'ask') return;
    const { serving, stopping } = this.#run;
    this.#say((stream) => {
      stream.phase(stopping ? 'draining' : serving ? 'running' : 'starting', serving);
    });
  }

  async #look(link: Link, look: Look): Promise<void> {
    const testimony = await this.#witness?.testify(look, () => this.#run.host.flaw);
    if (testimony === undefined || this.link !== link) return;
    this.#say((stream) => {
      stream.testify(testimony);
    });
  }

  #forget(link: Link): void {
    if (this.link !== link) return;
    this.link = undefined;
    if (link.heard) this.#run.lastLifeMs = this.#network.timeline.monotonicMs();
    this.#attachSoon();
  }

  /** Puts its object again whenever it is found missing, and makes it ready where it is not although Envoy serves. */
  async #lookAfterObject(): Promise<void> {
    const run = this.#run;
    while (!run.stopping) {
      await this.#pause(LOOK_MS);
      if (run.lives && this.#isAmiss()) await this.#register(run.serving);
    }
  }

  #isAmiss(): boolean {
    const { host, id, owner, serving } = this.#run;
    const resource = this.#network.zone.find(host.key)?.resource;
    if (resource === undefined) return owner === 'agent';
    const isOwn = resource.labels?.[INCARNATION_LABEL] === id;
    return serving && isOwn && isHidden(resource);
  }

  async #register(ready: boolean): Promise<boolean> {
    const resource = Buffer.from(JSON.stringify(this.#run.resource));
    const request = { incarnation: this.#incarnation, resource, ready, rotation: undefined, wish: undefined };
    const answer = await this.#ask(PUT_PATIENCE_MS, (companion) =>
      companion.register(request, PUT_PATIENCE_MS),
    );
    return answer !== undefined;
  }

  async #deregister(): Promise<boolean> {
    const answer = await this.#ask(DEREGISTER_MS, (companion) =>
      companion.deregister({ incarnation: this.#incarnation }, DEREGISTER_MS),
    );
    return answer !== undefined;
  }

  /** Envoy serves its last requests. An object that is back meanwhile is deregistered again. */
  async #drain(forMs: number): Promise<void> {
    const { timeline } = this.#network;
    const untilMs = timeline.monotonicMs() + forMs;
    for (;;) {
      const leftMs = untilMs - timeline.monotonicMs();
      if (leftMs <= 0) return;
      await this.#pause(Math.min(LOOK_MS, leftMs));
      if (this.#findOwnObject() && !(await this.#deregister())) this.#deleteItself();
    }
  }

  /** What an agent does that no companion answers: it asks the control plane itself, and looks whose object it is. */
  #deleteItself(): void {
    if (this.#findOwnObject()) this.#network.zone.delete(this.#run.host.key, 'agent');
  }

  /** Whether a control plane shows it its own object. */
  #findOwnObject(): boolean {
    const { zone } = this.#network;
    const { host, id } = this.#run;
    const object = zone.find(host.key);
    if (object === undefined || host.planesCut || !zone.planes.some(({ isUp }) => isUp)) return false;
    return judgeOwnership({ incarnation: id, address: host.address }, object.resource).ours;
  }

  get #incarnation(): Incarnation {
    const { host, id } = this.#run;
    return { dataplane: { mesh: 'default', name: host.name }, id, address: host.address };
  }

  #say(speak: (stream: FakeAgentStream) => void): void {
    const { link } = this;
    if (link === undefined) return;
    const send = (): void => {
      link.process.after(TRAVEL_MS, () => {
        speak(link.stream);
      });
    };
    if (this.#run.host.companionCut) link.waiting.push(send);
    else send();
  }

  /** One call, now and then made twice. @returns `undefined` if no answer came in time, or a failure */
  async #ask<T>(
    patienceMs: number,
    call: (companion: MemoryCompanion) => Promise<T>,
  ): Promise<T | undefined> {
    const answered = Promise.withResolvers<T | undefined>();
    const times = this.#network.random() < 0.1 ? 2 : 1;
    for (let at = 0; at < times; at += 1) {
      const found = this.#pickCompanion();
      found?.process.after(TRAVEL_MS, () => {
        void call(found.companion).then(
          (answer) => {
            if (!found.process.isDead && !this.#run.host.companionCut) answered.resolve(answer);
          },
          () => {
            if (!found.process.isDead) this.process.after(TRAVEL_MS, () => answered.resolve(undefined));
          },
        );
      });
      if (found === undefined) answered.resolve(undefined);
    }
    this.process.after(patienceMs, () => {
      answered.resolve(undefined);
    });
    const answer = await answered.promise;
    await this.#pause(TRAVEL_MS);
    return answer;
  }

  #pickCompanion(
    besides?: SimProcess,
  ): { readonly companion: MemoryCompanion; readonly process: SimProcess } | undefined {
    const { replicas, random } = this.#network;
    if (this.#run.host.companionCut) return undefined;
    const all = replicas.filter(({ isUp }) => isUp);
    const up = all.length === 1 ? all : all.filter(({ process: each }) => each !== besides);
    const { companion, process } = up[Math.floor(random() * up.length)] ?? {};
    return companion === undefined || process === undefined ? undefined : { companion, process };
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.process.after(ms, resolve);
    });
  }
}

function isHidden({ networking }: DataplaneResource): boolean {
  return networking?.inbound?.some(({ state }) => state === 'NotReady') === true;
}
