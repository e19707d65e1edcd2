import { describeKey, INCARNATION_LABEL } from '../../kuma/dataplane.ts';
import { portStates } from '../../kuma/port-states.ts';
import type { DataplaneRecord } from '../../control-plane/records.pure.ts';
import { STORE_LIMITS } from '../../control-plane/store/limits.ts';
import { FakeZone, type ZoneObject } from '../support/fakes/fake-zone.ts';
import { MemoryDatabase, type MemoryTables } from '../support/fakes/memory-database.ts';
import { seededRandom } from '../support/replicas/random.ts';
import { HOSTS, NAMES, replicasOf, type HistoryFault, type History } from './history.ts';
import { SimConnections, type SimNetwork } from './sim-network.ts';
import { SimReach } from './sim-reach.ts';
import { SimHost, type SimRun } from './sim-host.ts';
import { SimProcess } from './sim-process.ts';
import { SimReplica } from './sim-replica.ts';
import { Timeline } from './timeline.ts';
import { WEB_HOSTS, WITNESS_FAULTS, WITNESS_HOSTS, type WitnessFault } from './witness-history.ts';
import { WitnessWorld } from './witness-world.ts';

export interface Outcome {
  readonly violations: readonly string[];
  /** What happened, in the order of true time. */
  readonly log: readonly string[];
  /** When each dataplane was marked as sidelined, and when its last mark went; true time. */
  readonly sidelinedMs: ReadonlyMap<string, readonly number[]>;
  readonly restoredMs: ReadonlyMap<string, number>;
  /** When each object was deleted last; true time. */
  readonly deletedMs: ReadonlyMap<string, number>;
}

const GRACE_MS = 15_000;
/** Of an object that its agent put, whatever the control plane's own delay. */
const SHORTEST_GRACE_MS = 5_000;
const SWEEP_AFTER_MS = 60_000;
const BACKOFF_MS = 30_000;
/** Until a fleet that was started is up, and every companion believes what it sees. */
export const WARM_UP_MS = 50_000;
/** The bound on everything that is unfinished: Kuma declares ghosts ended after 5 min, then grace, backoff and sweep. */
const CALM_MS = 600_000;
const CALM_STEP_MS = 10_000;
/** No database comes back sooner. */
const FAILOVER_MS = 4_000;
const RELEASED_MS = 86_400_000;
/** How long each side believes in a peer that says nothing: by pings, and by the kernel where witnesses are asked. */
const PINGED_OUT_MS = 14_000;
const DARK_MS = 6_000;
/** A control plane's TCP keepalive. */
const PLANE_SILENCE_MS = 150_000;
/** After these, times in the store say nothing about true time. */
const UNSTEADY: ReadonlySet<HistoryFault['kind']> = new Set([
  'database clock',
  'replica clock',
  'replica pauses',
  'database goes back',
] as const);
const LATE_WIRES: ReadonlySet<string> = new Set([
  'control planes are slow',
  'answers are lost',
  'database goes back',
  'store is lost',
]);

/** A zone, its hosts and its companions in one process and in one order, which the seed decides. */
export class Simulation {
  readonly violations: string[] = [];
  readonly log: string[] = [];
  readonly #deletedMs = new Map<string, number>();
  readonly #history: History;
  readonly #timeline = new Timeline();
  readonly #random: () => number;
  readonly #zone = new FakeZone(this.#timeline);
  readonly #databaseServer = new SimProcess(this.#timeline);
  readonly #database: MemoryDatabase;
  readonly #replicas: readonly SimReplica[];
  readonly #hosts: readonly SimHost[];
  readonly #runs = new Map<string, SimRun>();
  readonly #planesUpSinceMs: number[] = [];
  readonly #network: SimNetwork;
  readonly #witnesses: WitnessWorld | undefined;
  /** As they were before the last change. */
  readonly #objects = new Map<string, ZoneObject>();

  constructor(history: History) {
    const timeline = this.#timeline;
    this.#history = history;
    this.#random = seededRandom(history.seed ^ 0x5f_37_59_df);
    this.#database = new MemoryDatabase(history.database, this.#databaseServer, STORE_LIMITS.lockWaitMs);
    for (let at = 0; at < history.planes; at += 1) {
      this.#zone.addPlane().deregistrationDelayMs = history.deregistrationDelayMs;
      this.#planesUpSinceMs.push(0);
    }
    const hosts: SimHost[] = [];
    const replicas: SimReplica[] = [];
    const reach = history.witnesses === true ? new SimReach(timeline, hosts) : undefined;
    this.#hosts = hosts;
    this.#replicas = replicas;
    this.#network = {
      timeline,
      zone: this.#zone,
      replicas,
      random: this.#random,
      silenceMs: reach === undefined ? PINGED_OUT_MS : DARK_MS,
      planeSilenceMs: reach === undefined ? PINGED_OUT_MS : PLANE_SILENCE_MS,
      reach,
      connections: new SimConnections(),
    };
    for (let at = 0; at < replicasOf(history.database); at += 1) replicas.push(this.#addReplica(at));
    for (let at = 0; at < (reach === undefined ? HOSTS : WITNESS_HOSTS); at += 1)
      hosts.push(this.#addHost(at));
    this.#witnesses =
      reach === undefined
        ? undefined
        : new WitnessWorld({
            timeline,
            zone: this.#zone,
            database: this.#database,
            hosts,
            reach,
            closed: hosts[history.closed ?? -1],
            isSteady: !history.steps.some(({ fault }) => UNSTEADY.has(fault.kind)),
          });
    if (reach !== undefined) reach.onMisuse = this.#violate.bind(this);
    this.#zone.onChange = (what, object, by) => {
      this.#changed(what, object, by);
    };
  }

  async run(): Promise<Outcome> {
    for (const replica of this.#replicas) replica.start();
    const started = this.#witnesses === undefined ? this.#hosts.slice(0, NAMES) : this.#hosts;
    for (const [at, host] of started.entries()) host.start(at % 2 === 0 ? 'cp' : 'agent');
    await this.#timeline.pass(WARM_UP_MS);
    for (const { afterMs, fault } of this.#history.steps) {
      await this.#pass(afterMs, fault);
      this.#note(`! ${JSON.stringify(fault)}`);
      this.#happen(fault);
    }
    await this.#timeline.pass(1_000);
    await this.#calm();
    const { violations, log } = this;
    const { sidelinedMs = new Map(), restoredMs = new Map() } = this.#witnesses ?? {};
    return { violations, log, sidelinedMs, restoredMs, deletedMs: this.#deletedMs };
  }

  /** A failover goes back to what the database was a moment before. */
  async #pass(ms: number, next: HistoryFault): Promise<void> {
    if (next.kind !== 'database goes back') return this.#timeline.pass(ms);
    await this.#timeline.pass(Math.max(0, ms - next.byMs));
    const before = this.#database.snapshot();
    await this.#timeline.pass(Math.min(ms, next.byMs));
    this.#goBack(before);
  }

  #goBack(before: MemoryTables): void {
    const untilMs = this.#timeline.monotonicMs() + FAILOVER_MS;
    for (const { wires } of this.#replicas) wires.break('store is cut off', untilMs);
    for (const lose of this.#database.sessions) lose();
    this.#database.tables = before;
  }

  #addReplica(at: number): SimReplica {
    const replica = new SimReplica(`replica-${at}`, {
      timeline: this.#timeline,
      zone: this.#zone,
      named: this.#zone.planes,
      database: this.#database,
      random: this.#random,
      settings: { graceMs: GRACE_MS, sweepOfflineAfterMs: SWEEP_AFTER_MS },
      connections: this.#network.connections,
      reach: this.#network.reach,
      hostAt: (address) => this.#hosts.find((host) => host.address === address),
    });
    replica.onLine = (line) => {
      this.#note(`replica-${at}: ${line}`);
    };
    replica.onDeath = (process) => {
      this.#note(`replica-${at} ended`);
      for (const { run } of this.#hosts) run?.agent.noticeDeath(process);
    };
    return replica;
  }

  #addHost(at: number): SimHost {
    const address = `10.0.0.${at}`;
    const isWeb = at < WEB_HOSTS;
    const place =
      this.#network.reach === undefined
        ? { name: `web-${at % NAMES}`, address, service: 'web', calls: [] }
        : { name: `dp-${at}`, address, service: isWeb ? 'web' : 'api', calls: [isWeb ? 'api' : 'web'] };
    return new SimHost(place, this.#network, (run) => this.#runs.set(run.id, run));
  }

  #changed(what: 'put' | 'deleted', object: ZoneObject, by: string): void {
    const name = describeKey(object.key);
    const before = this.#objects.get(name);
    if (what === 'put') this.#objects.set(name, object);
    else {
      this.#objects.delete(name);
      this.#deletedMs.set(object.key.name, this.#timeline.monotonicMs());
    }
    const out = isHidden(object) ? ', out' : '';
    this.#note(`${by}: ${object.key.name} ${what} (${runIdOf(object) ?? 'no run'}${out})`);
    if (by !== 'rest') return;
    if (what === 'deleted') {
      this.#checkDeletion(object);
      return;
    }
    for (const problem of this.#witnesses?.judgePut(object, before, this.#isLate) ?? [])
      this.#violate(problem);
  }

  /** Whether a write may land later than its answer was waited for. */
  get #isLate(): boolean {
    return this.#history.steps.some(({ fault }) => LATE_WIRES.has(fault.kind));
  }

  #happen(fault: HistoryFault): void {
    if (isWitnessFault(fault)) this.#witnesses?.happen(fault);
    else if ('host' in fault) this.#happenToHost(fault);
    else if ('plane' in fault) this.#happenToPlane(fault);
    else if ('replica' in fault) this.#happenToReplica(fault);
    else if (fault.kind === 'database clock') this.#databaseServer.wallSkewMs += fault.byMs;
  }

  #happenToHost(fault: Exclude<Extract<HistoryFault, { host: number }>, WitnessFault>): void {
    const host = this.#hosts[fault.host];
    if (host === undefined) return;
    switch (fault.kind) {
      case 'host starts':
        return this.#startHost(host, fault.owner);
      case 'host is replaced':
        host.crash(0);
        return this.#startHost(host, fault.owner);
      case 'host stops':
        return host.stop();
      case 'host drains':
        return host.stop(fault.forMs);
      case 'host crashes':
        return host.crash(0);
      case 'host falls silent':
        return host.crash(fault.forMs);
      case 'agent is killed':
        return host.run?.agent.process.die();
      case 'companion is cut off':
        return host.cutCompanion();
      case 'control planes are cut off':
        return host.cutPlanes();
      case 'host is cut off':
        host.cutPlanes();
        return host.cutCompanion();
      case 'host is joined':
        return host.join();
    }
  }

  /** Two hosts with one name at a time are a mistake of their own. */
  #startHost(host: SimHost, owner: 'cp' | 'agent'): void {
    const others = this.#hosts.filter((each) => each.name === host.name);
    if (others.every(({ run }) => run === undefined || run.isOver)) host.start(owner);
  }

  #happenToPlane(fault: Extract<HistoryFault, { plane: number }>): void {
    const plane = this.#zone.planes[fault.plane];
    if (plane === undefined) return;
    if (fault.kind === 'control plane clock') plane.skewMs += fault.byMs;
    if (fault.kind === 'control plane crashes') plane.stop(false);
    if (fault.kind === 'control plane stops') plane.stop(true);
    if (fault.kind !== 'control plane starts' || plane.isUp) return;
    plane.start();
    this.#planesUpSinceMs[fault.plane] = this.#timeline.monotonicMs();
  }

  #happenToReplica(fault: Extract<HistoryFault, { replica: number }>): void {
    const replica = this.#replicas[fault.replica];
    if (replica === undefined) return;
    const { wires, process } = replica;
    switch (fault.kind) {
      case 'replica starts':
        return replica.start();
      case 'replica stops':
        return replica.stop(3_000);
      case 'replica dies':
        return process?.dieIn(fault.steps);
      case 'replica pauses':
        process?.pause(fault.forMs, fault.machine);
        for (const { run } of this.#hosts) if (run?.agent.link?.process === process) run?.agent.fallSilent();
        return undefined;
      case 'replica clock':
        if (process !== undefined) process.wallSkewMs += fault.byMs;
        return undefined;
      case 'store is cut off':
      case 'store is slow':
      case 'control planes are out of reach':
      case 'control planes are slow':
      case 'answers are lost':
      case 'writes are refused':
        return wires.break(fault.kind, this.#timeline.monotonicMs() + fault.forMs);
    }
  }

  /** Everything that was broken works again, an operator releases the brake, and what is unfinished ends within the bound. */
  async #calm(): Promise<void> {
    this.#note('! everything works again');
    this.#zone.planes.forEach((_, plane) => this.#happen({ kind: 'control plane starts', plane }));
    for (const replica of this.#replicas) {
      replica.wires.heal();
      replica.start();
    }
    this.#network.reach?.heal();
    for (const host of this.#hosts) {
      host.join();
      host.flaw = undefined;
      // Envoys without an agent cannot be judged: their hosts end as well.
      if (host.run?.agent.process.isDead === true) host.crash(0);
    }
    let left: readonly string[] = ['everything'];
    for (let waitedMs = 0; waitedMs < CALM_MS && left.length > 0; waitedMs += CALM_STEP_MS) {
      this.#database.tables.releases.set('', this.#databaseServer.wallMs() + RELEASED_MS);
      await this.#timeline.pass(CALM_STEP_MS);
      left = this.#unfinished();
      // A replica that was to end at a step of its own may have ended only now.
      for (const replica of this.#replicas) replica.start();
    }
    for (const what of left) this.#violate(what);
  }

  #unfinished(): readonly string[] {
    const living = new Map(
      this.#hosts.flatMap(({ run }) => (run?.lives === true ? [[run.host.name, run] as const] : [])),
    );
    const names = new Set(this.#hosts.map(({ name }) => name).filter((name) => !this.#isUnknowable(name)));
    return [
      ...[...names].flatMap((name) => this.#unfinishedObject(name, living.get(name))),
      ...[...this.#database.tables.rows.values()].flatMap(({ key, state, incarnation }) =>
        !names.has(key.name) || (state === 'attached' && living.get(key.name)?.id === incarnation)
          ? []
          : [`${key.name} has a record of ${incarnation}: ${state}`],
      ),
      ...(this.#witnesses?.unfinished(new Set(living.keys())) ?? []),
      ...this.#replicas.flatMap(({ companion }) => {
        const bugs = companion?.log.lines.filter(({ event }) => event === 'deregistrar.failed') ?? [];
        return bugs.map(({ fields }) => `a bug: ${String(fields?.['err'])}`);
      }),
    ];
  }

  /** What was last connected to a control plane that came and went unseen is kept, and the companion says so. */
  #isUnknowable(name: string): boolean {
    const row = this.#database.tables.rows.get(`default/${name}`);
    if (row !== undefined) return row.state !== 'attached' && row.guard === 'unknown-insight';
    return (
      this.#history.steps.some(({ fault }) => fault.kind === 'store is lost') && this.#wasAtEndedPlane(name)
    );
  }

  /** A store that was lost does not say that this control plane was ever seen. */
  #wasAtEndedPlane(name: string): boolean {
    const last = this.#zone.objects.get(`default/${name}`)?.subscriptions.at(-1)?.controlPlaneInstanceId;
    return last !== undefined && !this.#zone.planes.some(({ instanceId }) => instanceId === last);
  }

  #unfinishedObject(name: string, living: SimRun | undefined): readonly string[] {
    const object = this.#zone.objects.get(`default/${name}`);
    if (living === undefined)
      return object === undefined || isUnrecorded(object) ? [] : [`${name} is gone, its object is not`];
    if (object === undefined) return [`${name} lives, its object is gone`];
    if (runIdOf(object) !== living.id) return [`${name} lives, its object is of ${runIdOf(object) ?? ''}`];
    return isHidden(object) ? [`${name} lives, its object is not ready`] : [];
  }

  /**
   * No living dataplane is deleted while its life can be seen: while a companion holds its agent's stream or a control
   * plane its own, or did within the grace; and a reconnect backoff more where no agent said a word, or where its control
   * plane ended under it.
   */
  #checkDeletion(object: ZoneObject): void {
    const run = this.#runs.get(runIdOf(object) ?? '');
    if (run?.lives !== true || !run.serving) return;
    const nowMs = this.#timeline.monotonicMs();
    const row = this.#database.tables.rows.get(describeKey(object.key));
    const state = row?.state;
    const neededMs = state === 'lost' ? this.#graceOf(row) : GRACE_MS + BACKOFF_MS;
    const planeUpMs = Math.min(
      ...this.#planesUpSinceMs.filter((_, at) => this.#zone.planes[at]?.isUp === true),
    );
    // It had the time to find one that is up, and its Envoy to connect again.
    const sinceMs = Math.max(
      run.lastLifeMs,
      run.isReconnecting ? planeUpMs + GRACE_MS + BACKOFF_MS - neededMs : planeUpMs,
      Math.min(...this.#replicas.filter(({ isUp }) => isUp).map(({ upSinceMs }) => upSinceMs)),
    );
    const silentMs = run.isSeen ? 0 : nowMs - sinceMs;
    if (silentMs < neededMs)
      this.#violate(
        `${object.key.name} lives (${run.id}), was silent for ${silentMs} ms, and was deleted: ${state ?? 'no record'}`,
      );
  }

  /** An object that its agent put goes as soon as the control plane deletes one of its own. */
  #graceOf(row: DataplaneRecord | undefined): number {
    const { deregistrationDelayMs: delayMs } = this.#history;
    if (row?.owner !== 'agent' || delayMs === undefined) return GRACE_MS;
    return Math.min(GRACE_MS, Math.max(delayMs, SHORTEST_GRACE_MS));
  }

  #violate(what: string): void {
    this.violations.push(what);
    this.#note(`VIOLATION: ${what}`);
  }

  #note(line: string): void {
    this.log.push(`${Math.round(this.#timeline.monotonicMs())} ${line}`);
  }
}

function isHidden({ resource }: ZoneObject): boolean {
  return Object.values(portStates(resource)).includes('NotReady');
}

/**
 * Its control plane put it for an Envoy that connected, and ended before it recorded the stream: no mark says whose it
 * is, and no insight whether it ever lived.
 */
function isUnrecorded({ brought, subscriptions, resource }: ZoneObject): boolean {
  return brought && subscriptions.length === 0 && resource.labels?.[INCARNATION_LABEL] === undefined;
}

function isWitnessFault(fault: HistoryFault): fault is WitnessFault {
  return fault.kind in WITNESS_FAULTS;
}

function runIdOf({ resource }: ZoneObject): string | undefined {
  const tags = resource.networking?.inbound?.[0]?.['tags'] as Readonly<Record<string, string>> | undefined;
  return tags?.['run'];
}
