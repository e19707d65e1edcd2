import type { ObjectOwner } from '../../../../control-plane/records.pure.ts';
import { GRACE_MS, SimpleCompanion, type Deletion } from './world-companion.ts';
import { WorldControlPlane } from './world-control-plane.ts';

interface Incarnation {
  readonly id: string;
  readonly owner: ObjectOwner;
  agent: boolean;
  attached: boolean;
  unreachableSinceMs: number | undefined;
  leaving: boolean;
  asked: boolean;
  exitsAtMs: number;
  connected: boolean;
  connectedAtMs: number;
  nextConnectMs: number;
  /** When it could last be seen from outside: connected, or attached. */
  lastLifeMs: number;
}

interface Host {
  readonly name: string;
  incarnation: Incarnation | undefined;
  cutFromCompanion: boolean;
  cutFromControlPlaneSinceMs: number | undefined;
  /** The control plane has yet to see that the stream of a host without power ended. */
  streamEndsMs: number | undefined;
  readonly detaches: { readonly id: string; readonly dueMs: number }[];
}

export type Event =
  | { readonly kind: 'start'; readonly host: number; readonly owner: 'cp' | 'agent' }
  | { readonly kind: 'leave' | 'crash' | 'lose power' | 'kill agent'; readonly host: number }
  | { readonly kind: 'cut companion' | 'cut control plane' | 'join'; readonly host: number }
  | { readonly kind: 'control plane crashes' | 'control plane stops' | 'control plane starts' }
  | { readonly kind: 'companion stops' | 'companion starts' }
  | { readonly kind: 'companion pauses'; readonly seconds: number }
  | { readonly kind: 'clock jumps'; readonly hours: number };

const TICK_MS = 1_000;
/** Keepalive: how long a silent peer is believed to be there. */
const SILENCE_MS = 15_000;
const BACKOFF_MS = 30_000;
const RECORDED_WITHIN_MS = 1_000;

/** Hosts, a control plane and a companion in simulated time. Starts with a fleet that runs. */
export class World {
  readonly controlPlane = new WorldControlPlane();
  readonly companion: SimpleCompanion;
  readonly hosts: readonly Host[];
  readonly violations: string[] = [];
  readonly log: string[] = [];
  readonly #random: () => number;
  #nowMs = Date.UTC(2026, 0, 1);
  #runs = 0;

  constructor(hosts: number, random: () => number) {
    this.#random = random;
    this.companion = new SimpleCompanion(this.controlPlane, (deletion) => this.#check(deletion));
    this.controlPlane.start(this.#nowMs);
    this.companion.start(this.#nowMs);
    this.hosts = Array.from({ length: hosts }, (_, at) => ({
      name: `${at}`,
      incarnation: undefined,
      cutFromCompanion: false,
      cutFromControlPlaneSinceMs: undefined,
      streamEndsMs: undefined,
      detaches: [],
    }));
  }

  happen(event: Event): void {
    this.log.push(`${this.#nowMs % 86_400_000}: ${JSON.stringify(event)}`);
    const host = this.hosts['host' in event ? event.host : 0];
    if (host !== undefined) this.#happenTo(host, event);
    if (event.kind === 'control plane crashes') this.controlPlane.stop(this.#nowMs, false);
    if (event.kind === 'control plane stops') this.controlPlane.stop(this.#nowMs, true);
    if (event.kind === 'control plane starts') this.controlPlane.start(this.#nowMs);
    if (event.kind === 'companion stops') this.#stopCompanion();
    if (event.kind === 'companion starts') this.companion.start(this.#nowMs);
    if (event.kind === 'companion pauses') this.companion.pausedUntilMs = this.#nowMs + event.seconds * 1_000;
    if (event.kind === 'clock jumps') this.companion.wallSkewMs += event.hours * 3_600_000;
  }

  run(seconds: number): void {
    for (let at = 0; at < seconds; at += 1) {
      this.#nowMs += TICK_MS;
      this.controlPlane.tick(this.#nowMs);
      for (const host of this.hosts) this.#tick(host);
      this.companion.tick(this.#nowMs);
    }
  }

  /** Everything that was broken works again, and an operator lets everything through. */
  calm(): void {
    this.happen({ kind: 'control plane starts' });
    this.companion.pausedUntilMs = 0;
    this.happen({ kind: 'companion starts' });
    this.companion.released = true;
    this.hosts.forEach(({ incarnation }, host) => {
      this.happen({ kind: 'join', host });
      if (incarnation?.agent === false) this.happen({ kind: 'crash', host });
    });
  }

  /** Everything that is wrong once the world is calm. */
  unfinished(): readonly string[] {
    const { objects } = this.controlPlane;
    return [
      ...this.hosts.flatMap(({ name, incarnation }) => {
        if (incarnation === undefined) {
          const { brought = false, streams = [] } = objects.get(name) ?? {};
          // Its control plane put it for a draining Envoy, and ended before it recorded the stream: nothing tells whose it is.
          const isUnknowable = brought && streams.length === 0;
          return objects.has(name) && !isUnknowable ? [`${name} is gone, its object is not`] : [];
        }
        return objects.has(name) ? [] : [`${name} lives, its object is gone`];
      }),
      ...[...this.companion.rows].flatMap(([name, { state, incarnation }]) => {
        const isItsOwn = this.hosts[Number(name)]?.incarnation?.id === incarnation;
        return state === 'attached' && isItsOwn ? [] : [`${name} has a row: ${state}`];
      }),
      ...(this.companion.remembered > 0 ? ['something is remembered'] : []),
    ];
  }

  #stopCompanion(): void {
    for (const { incarnation } of this.hosts) if (incarnation !== undefined) incarnation.attached = false;
    this.companion.stop();
  }

  #happenTo(host: Host, event: Event): void {
    if (event.kind === 'start') this.#start(host, event.owner);
    if (event.kind === 'cut companion') host.cutFromCompanion = true;
    if (event.kind === 'cut control plane') host.cutFromControlPlaneSinceMs ??= this.#nowMs;
    if (event.kind === 'join') {
      host.cutFromCompanion = false;
      host.cutFromControlPlaneSinceMs = undefined;
    }
    if (event.kind === 'leave') this.#leave(host);
    if (event.kind === 'crash') this.#end(host, 0);
    if (event.kind === 'lose power') this.#end(host, SILENCE_MS);
    if (event.kind === 'kill agent') this.#killAgent(host);
  }

  #leave({ incarnation }: Host): void {
    if (incarnation?.agent !== true || incarnation.leaving) return;
    incarnation.leaving = true;
    incarnation.exitsAtMs = this.#nowMs + 5_000 + this.#random() * 30_000;
  }

  #killAgent(host: Host): void {
    if (host.incarnation === undefined) return;
    host.incarnation.agent = false;
    this.#loseStream(host, host.incarnation, 0);
  }

  /** Unfenced, and as the control plane's own, where the companion cannot be reached within the second. */
  #start(host: Host, wanted: ObjectOwner): void {
    if (host.incarnation !== undefined) return;
    const fenced = this.#reachesCompanion(host);
    const owner = fenced && this.controlPlane.instance !== undefined ? wanted : 'cp';
    this.#runs += 1;
    const id = `${host.name}#${this.#runs}`;
    host.incarnation = {
      id,
      owner,
      agent: true,
      attached: false,
      unreachableSinceMs: undefined,
      leaving: false,
      asked: false,
      exitsAtMs: Number.POSITIVE_INFINITY,
      connected: false,
      connectedAtMs: this.#nowMs,
      nextConnectMs: this.#nowMs,
      lastLifeMs: this.#nowMs,
    };
    this.#attach(host, host.incarnation);
    if (owner === 'agent') this.controlPlane.put(host.name, { id, brings: false }, this.#nowMs);
  }

  /** Agent, kuma-dp and Envoy at once; `unseenMs` until others notice. */
  #end(host: Host, unseenMs: number): void {
    const { incarnation } = host;
    if (incarnation === undefined) return;
    this.#loseStream(host, incarnation, unseenMs);
    if (incarnation.connected) host.streamEndsMs = this.#nowMs + unseenMs;
    host.incarnation = undefined;
  }

  #loseStream(host: Host, incarnation: Incarnation, unseenMs: number): void {
    if (incarnation.attached) host.detaches.push({ id: incarnation.id, dueMs: this.#nowMs + unseenMs });
    incarnation.attached = false;
  }

  #tick(host: Host): void {
    const { incarnation } = host;
    this.#notice(host);
    if (incarnation === undefined) return;
    this.#tickEnvoy(host, incarnation);
    if (incarnation.agent) this.#tickAgent(host, incarnation);
    if (incarnation.attached || this.#isSeenConnected(incarnation)) incarnation.lastLifeMs = this.#nowMs;
  }

  /** A stream is recorded a second after it opens; where the object was there already, nothing else tells. */
  #isSeenConnected({ connected, connectedAtMs, owner }: Incarnation): boolean {
    return connected && (owner === 'cp' || this.#nowMs - connectedAtMs > RECORDED_WITHIN_MS);
  }

  /** Tells the control plane and the companion what they learn late. */
  #notice(host: Host): void {
    if (host.streamEndsMs !== undefined && host.streamEndsMs <= this.#nowMs) {
      this.controlPlane.disconnect(host.name, this.#nowMs);
      host.streamEndsMs = undefined;
    }
    const [first] = host.detaches;
    if (first === undefined || first.dueMs > this.#nowMs || !this.companion.isUp(this.#nowMs)) return;
    host.detaches.shift();
    const isBack = host.incarnation?.id === first.id && host.incarnation.attached;
    if (!isBack) this.companion.detach(host.name, first.id, this.#nowMs);
  }

  #tickEnvoy(host: Host, envoy: Incarnation): void {
    const { controlPlane } = this;
    const cutMs = host.cutFromControlPlaneSinceMs;
    if (envoy.connected && cutMs !== undefined && this.#nowMs - cutMs >= SILENCE_MS) {
      controlPlane.disconnect(host.name, this.#nowMs);
    }
    if (envoy.connected && !controlPlane.isConnected(host.name)) {
      envoy.connected = false;
      envoy.nextConnectMs = this.#nowMs + this.#random() * BACKOFF_MS;
    }
    if (envoy.connected || cutMs !== undefined || this.#nowMs < envoy.nextConnectMs) return;
    envoy.connected = controlPlane.connect(
      host.name,
      { id: envoy.id, brings: envoy.owner === 'cp' },
      this.#nowMs,
    );
    envoy.connectedAtMs = this.#nowMs;
    if (!envoy.connected) envoy.nextConnectMs = this.#nowMs + this.#random() * BACKOFF_MS;
  }

  #tickAgent(host: Host, agent: Incarnation): void {
    if (this.#reachesCompanion(host)) {
      agent.unreachableSinceMs = undefined;
      if (!agent.attached) this.#attach(host, agent);
      if (agent.leaving && !agent.asked) this.companion.leave(host.name, agent.id, this.#nowMs);
      agent.asked ||= agent.leaving;
      if (agent.connected && !agent.leaving && this.controlPlane.instance !== undefined) {
        this.controlPlane.askToLeave(host.name, agent.id, this.#nowMs);
      }
    } else {
      agent.unreachableSinceMs ??= this.#nowMs;
      if (this.#nowMs - agent.unreachableSinceMs >= SILENCE_MS) this.#loseStream(host, agent, 0);
    }
    if (this.#nowMs >= agent.exitsAtMs) this.#end(host, 0);
  }

  #attach(host: Host, agent: Incarnation): void {
    if (!this.#reachesCompanion(host)) return;
    agent.attached = this.companion.attach(host.name, agent.id, agent.owner) !== 'superseded';
  }

  #reachesCompanion(host: Host): boolean {
    return !host.cutFromCompanion && this.companion.isUp(this.#nowMs);
  }

  /**
   * No living dataplane is deleted: none that is connected or attached, or was within the grace (and, where no agent of
   * it said a word, a reconnect backoff more) while the control plane and the companion were both up. A host that is
   * cut off from both for longer is not told from one that is dead.
   */
  #check({ name, cause, incarnation }: Deletion): void {
    const living = this.hosts[Number(name)]?.incarnation;
    if (living === undefined || living.leaving) return;
    if (this.controlPlane.objects.get(name)?.writer !== living.id) return;
    const knownMs = Math.max(living.lastLifeMs, this.controlPlane.upSinceMs, this.companion.upSinceMs ?? 0);
    const neededMs = cause === 'fallback' ? GRACE_MS : GRACE_MS + BACKOFF_MS;
    const silentMs = this.#nowMs - knownMs;
    if (silentMs >= neededMs) return;
    this.violations.push(`${cause} of ${incarnation} hit ${living.id}, silent for ${silentMs} ms`);
  }
}
