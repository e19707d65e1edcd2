import { setTimeout as delay } from 'node:timers/promises';

import { withAdminClient } from '../../../control-plane/server/admin-client.io.ts';
import { waitUntil } from '../world/wait-until.ts';
import { mend, type Replica, type ReplicaFleet } from './replica-fleet.ts';
import type { ScriptedAgent } from './scripted-agent.ts';

export interface StormOptions {
  readonly fleet: ReplicaFleet;
  /** In [0, 1); the same numbers make the same plan, not the same timing. */
  readonly random: () => number;
  readonly durationMs: number;
  readonly names?: number;
}

/** Agents wait so long for an epoch before they start without. */
const START_BUDGET_MS = 1_000;
/** A name is free for another run after this many stops and crashes of its holder. */
const QUIET_MS = 90_000;

/** Applies everything that can happen to replicas and agents, in a random order, all at once. */
export class Storm {
  /** What was done, in order. */
  readonly plan: string[] = [];
  readonly #fleet: ReplicaFleet;
  readonly #random: () => number;
  readonly #durationMs: number;
  readonly #names: readonly string[];
  /** The newest of each name. */
  readonly #current = new Map<string, ScriptedAgent>();
  readonly #all: ScriptedAgent[] = [];
  readonly #disturbed = new Set<Replica>();
  readonly #running = new Set<Promise<void>>();

  constructor({ fleet, random, durationMs, names = 6 }: StormOptions) {
    this.#fleet = fleet;
    this.#random = random;
    this.#durationMs = durationMs;
    this.#names = Array.from({ length: names }, (_, at) => `web-${at}`);
  }

  /**
   * Runs the storm, then waits until all faults are mended and no work is left. @throws Error if that takes too long
   */
  async blow(): Promise<void> {
    for (const { companion } of this.#fleet.replicas.slice(0, 1))
      await withAdminClient(companion.adminSocket, (client) =>
        client.releaseBrake({ mesh: '', duration: { seconds: 3_600, nanos: 0 } }),
      );
    for (const name of this.#names) this.#do(() => this.#begin(name));
    const endsAtMs = performance.now() + this.#durationMs;
    while (performance.now() < endsAtMs) {
      await delay(100 + this.#random() * 400);
      this.#step();
    }
    await this.#calm();
  }

  /** The agents that should be present now. */
  get living(): readonly ScriptedAgent[] {
    return [...this.#current.values()].filter((agent) => !agent.isOver && !agent.isSuperseded);
  }

  /** Incarnations that left something behind: an object, or unfinished work. */
  async remaining(): Promise<ReadonlySet<string>> {
    const rows = await this.#fleet.query("select incarnation from dataplanes where state <> 'attached'");
    const holders = this.#names.flatMap((name) => this.#fleet.holder(name) ?? []);
    return new Set([...holders, ...rows.map((row) => (row as { readonly incarnation: string }).incarnation)]);
  }

  #step(): void {
    const dice = this.#random();
    const name = this.#pick(this.#names);
    const agent = this.#current.get(name);
    if (agent === undefined || agent.isOver || agent.isSuperseded) this.#do(() => this.#begin(name));
    else if (dice < 0.14) this.#do(() => this.#stop(agent, this.#random() < 0.5));
    else if (dice < 0.26) this.#do(() => this.#crash(agent));
    else if (dice < 0.36) this.#do(() => this.#cutOff(agent));
    else if (dice < 0.44) this.#do(() => this.#replace(agent));
    else if (dice < 0.5) this.#do(() => this.#restartControlPlane());
    else this.#disturb();
  }

  async #begin(name: string): Promise<void> {
    const first = Math.floor(this.#random() * 3);
    const owner = this.#random() < 0.6 ? 'agent' : 'cp';
    const agent = this.#fleet.agent(name, { owner, order: [first, (first + 1) % 3, (first + 2) % 3] });
    this.#current.set(name, agent);
    this.#all.push(agent);
    this.#say(`start ${describe(agent)} as ${owner}`);
    agent.start();
    const fenced = await agent.waitForEpoch(0, START_BUDGET_MS).catch(() => undefined);
    await (fenced === undefined ? agent.serveUnfenced() : agent.serve()).catch(() => {});
  }

  async #stop(agent: ScriptedAgent, isReplacedAtOnce: boolean): Promise<void> {
    this.#say(`stop ${describe(agent)}`);
    this.#current.delete(agent.name);
    const left = agent.leave();
    if (isReplacedAtOnce) this.#do(() => this.#begin(agent.name));
    await left.catch(() => {});
    await delay(this.#random() * 1_000);
    await agent.end();
  }

  async #crash(agent: ScriptedAgent): Promise<void> {
    this.#say(`crash ${describe(agent)}`);
    this.#current.delete(agent.name);
    await agent.crash();
  }

  async #cutOff(agent: ScriptedAgent): Promise<void> {
    this.#say(`cut ${describe(agent)}`);
    agent.cut();
    await delay(500 + this.#random() * 2 * this.#fleet.graceMs);
    if (agent.isOver) return;
    const heard = agent.epochs.length;
    agent.rejoin();
    await agent.waitForEpoch(heard, 20_000).catch(() => {});
    if (!agent.isSuperseded) await agent.serve().catch(() => {});
  }

  /** Another host takes the name while the old one lives, which then stops. */
  async #replace(agent: ScriptedAgent): Promise<void> {
    this.#say(`replace ${describe(agent)}`);
    this.#do(() => this.#begin(agent.name));
    await delay(this.#random() * 2_000);
    await agent.leave().catch(() => {});
    await agent.end();
  }

  async #restartControlPlane(): Promise<void> {
    const { controlPlane } = this.#fleet;
    if (controlPlane.instanceId === undefined) return;
    this.#say('crash the control plane');
    await controlPlane.crash();
    await delay(300 + this.#random() * 1_500);
    await controlPlane.start();
    await Promise.all(
      this.#all.map(async (agent) => {
        await delay(this.#random() * 1_000);
        await agent.reconnect();
      }),
    );
  }

  #disturb(): void {
    const free = this.#fleet.replicas.filter((replica) => !this.#disturbed.has(replica));
    if (free.length < 2) return;
    const replica = this.#pick(free);
    const [what, how] = this.#pick(this.#disturbances);
    this.#disturbed.add(replica);
    this.#say(`${what} replica ${this.#fleet.replicas.indexOf(replica)}`);
    this.#do(async () => {
      await how(replica).finally(() => this.#disturbed.delete(replica));
    });
  }

  get #disturbances(): readonly (readonly [string, (replica: Replica) => Promise<void>])[] {
    return [
      ['kill', (replica) => this.#kill(replica)],
      ['pause', (replica) => this.#pause(replica)],
      ['pause', (replica) => this.#pause(replica)],
      [
        'silence the database of',
        ({ toDatabase }) => this.#partition(() => toDatabase.become({ kind: 'silence' }), toDatabase),
      ],
      [
        'refuse the database to',
        ({ toDatabase }) => this.#partition(() => toDatabase.become({ kind: 'refuse' }), toDatabase),
      ],
      [
        'silence the control plane of',
        ({ toControlPlane }) =>
          this.#partition(() => toControlPlane.become({ kind: 'silence' }), toControlPlane),
      ],
      [
        'drop the answers to',
        ({ toControlPlane }) =>
          this.#partition(() => toControlPlane.become({ kind: 'drop-answers' }), toControlPlane),
      ],
      [
        'silence the agents of',
        ({ toAgents }) => this.#partition(() => toAgents.become({ kind: 'silence' }), toAgents),
      ],
    ];
  }

  async #kill({ companion }: Replica): Promise<void> {
    await companion.kill();
    await delay(500 + this.#random() * 2_000);
    await companion.start();
    await companion.waitUntilReady().catch(() => {});
  }

  async #pause({ companion }: Replica): Promise<void> {
    await companion.pause();
    await delay(500 + this.#random() * 11_000);
    companion.continue();
  }

  async #partition(cut: () => Promise<void>, proxy: Replica['toAgents']): Promise<void> {
    await cut();
    await delay(500 + this.#random() * 8_000);
    await mend(proxy);
  }

  /** Ends every fault that was begun, and lets due work happen. */
  async #calm(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#say('calm');
    await waitUntil(() => this.#isCalm(), { what: 'calm', budgetMs: QUIET_MS, pollMs: 250 }).catch(() => {});
  }

  /** Whether each living dataplane has an object of its own run, and nothing is left of the others. */
  async #isCalm(): Promise<boolean> {
    const { living } = this;
    const left = await this.remaining();
    const alive = new Set<string>(living.map(({ incarnation }) => incarnation));
    const isMended = living.every(({ name, incarnation }) => this.#fleet.holder(name) === incarnation);
    return isMended && left.isSubsetOf(alive);
  }

  #do(act: () => Promise<void>): void {
    const doing = act().finally(() => this.#running.delete(doing));
    this.#running.add(doing);
  }

  #pick<T>(among: readonly T[]): T {
    const picked = among[Math.floor(this.#random() * among.length)];
    if (picked === undefined) throw new RangeError('There is nothing to pick from');
    return picked;
  }

  #say(what: string): void {
    this.plan.push(`${Math.round(performance.now())} ${what}`);
  }
}

function describe({ name, incarnation }: ScriptedAgent): string {
  return `${name} ${incarnation.slice(0, 8)}`;
}
