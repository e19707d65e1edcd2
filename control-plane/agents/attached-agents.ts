import { pause } from '../../kernel/clock.ts';
import { hasCode, OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { Introduction, StreamSum } from '../ports.ts';
import type { DataplaneRecord, ObjectOwner, RecordSummary } from '../records.pure.ts';
import type { Loss } from '../witness/loss.pure.ts';
import type { AgentChannel, At, AttachedAgent } from '../attached-agent.ts';
import {
  openedAgent,
  type StreamAdmission,
  type AttachedAgentsDeps,
  type Given,
  type MutableAgent,
} from './admission.ts';
import { returnTimeMs } from './return-time.pure.ts';
import { judgeHere } from './entry-here.ts';
import { PhaseNotes } from './phase-notes.ts';
import { Openings } from './openings.ts';
import { RecentAsks } from './recent-asks.ts';
import { Redirects } from './redirects.ts';
import { straysAmong } from './strays.pure.ts';
import { UnrecordedEnds } from './unrecorded-ends.ts';

/** Wait after a pause of this process, until it has learned which connections ended meanwhile. */
const AFTER_PAUSE_MS = 1_500;
/** Longer than an agent pauses before it asks for its name again: 10 s, and 60 s spread by half in 0.1.0. */
const TURNED_AWAY_MS = 180_000;
/** How many streams are checked in parallel: SQLite records them with one sync of the disk. */
const TOGETHER = 32;

/**
 * The agents that are attached to this replica. The store learns of each that attaches or ends, as soon as it can be
 * reached.
 */
export class AttachedAgents {
  readonly #deps: AttachedAgentsDeps;
  readonly #agents = new Map<string, MutableAgent>();
  /** Agents that wait because another incarnation serves under their name. */
  readonly #held = new Set<MutableAgent>();
  /** Open streams that the store may count as lost. */
  readonly #doubted = new Set<AttachedAgent>();
  readonly #opening: Openings;
  readonly #ends: UnrecordedEnds;
  readonly #phases: PhaseNotes;
  readonly #redirects = new Redirects();
  /** Incarnations that asked for a name while another one had it. */
  readonly #turnedAway: RecentAsks;

  constructor(deps: AttachedAgentsDeps) {
    this.#deps = deps;
    this.#ends = new UnrecordedEnds(deps);
    this.#phases = new PhaseNotes(deps.store, deps.events.failedUnexpectedly);
    this.#turnedAway = new RecentAsks(deps.clock, TURNED_AWAY_MS);
    this.#opening = new Openings(deps.clock, deps.graceMs);
  }

  get size(): number {
    return this.#agents.size;
  }

  [Symbol.iterator](): IterableIterator<AttachedAgent> {
    return this.#agents.values();
  }

  find(key: DataplaneKey): AttachedAgent | undefined {
    return this.#agents.get(describeKey(key));
  }

  /** Whether an agent of this name is attached here, or waits until the store has recorded that. */
  isReturning(key: DataplaneKey): boolean {
    const name = describeKey(key);
    return this.#agents.has(name) || this.#opening.isUnderWay(name);
  }

  /** As {@link isReturning}, or such an agent has asked within the grace: it was alive then, whatever became of it. */
  isHeard(key: DataplaneKey): boolean {
    const name = describeKey(key);
    return this.#agents.has(name) || this.#opening.isHeard(name);
  }

  /**
   * The records that the store should show as attached here. `undefined` while a change is being recorded, and while
   * this replica shuts down, since it does not record the ends of streams then.
   */
  get held(): StreamSum | undefined {
    if (this.#opening.size > 0 || this.#ends.size > 0 || this.#redirects.isShuttingDown) return undefined;
    let count = 0;
    let epochs = 0;
    for (const { epoch, leaving } of this.#agents.values()) {
      if (epoch === undefined || leaving) continue;
      count += 1;
      epochs += epoch;
    }
    return { count, epochs };
  }

  /** Whether the stream of this epoch is open here. */
  isOpen({ key, epoch }: At): boolean {
    return this.find(key)?.epoch === epoch;
  }

  /**
   * Whether this incarnation has recently asked for its name although another one has it: this proves that it lives.
   */
  isAsking(incarnation: string): boolean {
    return this.#turnedAway.has(incarnation);
  }

  /** @throws `STORE_BUSY`, and `ENDPOINT_BUSY` while this replica shuts down */
  async open(introduction: Introduction, channel: AgentChannel): Promise<StreamAdmission> {
    return this.#opening.during(introduction, async () => {
      this.#redirects.assertOpen();
      await this.#ends.underWay(describeKey(introduction.key));
      return this.#admit(introduction, channel, await this.#ask(introduction));
    });
  }

  #admit(introduction: Introduction, channel: AgentChannel, given: Given): StreamAdmission {
    if (given.kind === 'superseded') {
      this.#turnedAway.note(introduction.incarnation);
      this.#deps.events.superseded(introduction);
      return { superseded: true };
    }
    const agent = openedAgent(introduction, channel, this.#deps.clock.monotonicMs());
    if (given.kind === 'held') this.#hold(agent, given.holder);
    else this.#take(agent, given);
    return { agent };
  }

  /**
   * The stream of `agent` ended, for whichever reason.
   *
   * @param isTold whether the agent had heard that it is attached
   */
  async close(agent: AttachedAgent, loss: Loss, isTold = true): Promise<void> {
    if (this.#held.delete(agent)) return;
    const { introduction, epoch, leaving } = agent;
    const name = describeKey(introduction.key);
    // Another stream of the same name has taken its place here.
    if (this.#agents.get(name) !== agent) return;
    this.#forget(agent);
    if (this.#redirects.isShuttingDown) return;
    const mayReturn = !leaving && (!isTold || this.#deps.isLate());
    const isLost = !leaving && !mayReturn;
    this.#sayEnd(agent, isLost ? loss : undefined);
    if (epoch !== undefined)
      await this.#ends.add({ key: introduction.key, epoch }, mayReturn ? returnTimeMs(this.size) : undefined);
    if (isLost) await this.#try(() => this.#deps.onLost(agent, loss));
    // While another call acts on the name, the next heartbeat tries the held agents again.
    await this.#try(() => this.#admitHeld(name));
  }

  #sayEnd({ introduction, epoch, leaving }: AttachedAgent, loss: Loss | undefined): void {
    const { events, graceMs } = this.#deps;
    if (leaving) events.gone({ ...introduction, epoch });
    else if (loss !== undefined)
      events.lost({ ...introduction, epoch }, loss, introduction.deletable ? graceMs : undefined);
  }

  /** The store counts this epoch's stream as lost although it is open here: the next heartbeat records it again. */
  doubt(at: At): void {
    const agent = this.find(at.key);
    if (agent?.epoch === at.epoch) this.#doubted.add(agent);
  }

  phaseChanged(agent: AttachedAgent, phase: string, serving: boolean): void {
    const changed = this.#own(agent);
    if (changed === undefined) return;
    const began = serving && !changed.serving;
    const saidMs = this.#deps.clock.monotonicMs();
    if (began) changed.sinceMs = saidMs;
    Object.assign(changed, { phase, serving, words: changed.words + 1, saidMs });
    if (changed.epoch === undefined) return;
    if (began) this.#deps.onAttached(changed);
    const at = { key: changed.introduction.key, epoch: changed.epoch };
    this.#phases.note(at, { phase, serving }, changed);
  }

  reported(agent: AttachedAgent, report: unknown): void {
    const { introduction, epoch } = agent;
    this.#deps.events.reported({ ...introduction, epoch }, report);
    this.#deps.onReported(introduction, report);
  }

  /** This incarnation is leaving: the end of its stream is no loss. */
  markLeaving({ key, incarnation }: Pick<Introduction, 'key' | 'incarnation'>): void {
    const agent = this.#agents.get(describeKey(key));
    if (agent?.introduction.incarnation !== incarnation) return;
    agent.leaving = true;
  }

  /** An agent whose start did not wait for the companion has another owner: the control plane, or later the agent. */
  async ownerChanged(agent: AttachedAgent, owner: ObjectOwner): Promise<void> {
    const changed = this.#own(agent);
    if (changed === undefined || changed.introduction.owner === owner) return;
    changed.introduction = { ...changed.introduction, owner };
    if (changed.epoch === undefined) return;
    // If the store cannot record it now, the next heartbeat tries again.
    this.#doubted.add(changed);
    await this.#try(() => this.#reattach(changed));
  }

  /** Forgets a dataplane whose agent leaves the object in place (--on-crash keep). */
  async keep(agent: AttachedAgent): Promise<void> {
    const changed = this.#own(agent);
    if (changed?.epoch === undefined) return;
    const { store, replica } = this.#deps;
    changed.introduction = { ...agent.introduction, deletable: false };
    await store.attach(changed.introduction, replica, this.#entry);
    changed.leaving = true;
    this.#deps.events.kept({ ...agent.introduction, epoch: agent.epoch });
  }

  /** Redirects all agents to other replicas. From now on, the end of a stream starts no departure. */
  shutDown(reason: string): void {
    this.#redirects.shutDown([...this.#agents.values(), ...this.#held], reason);
  }

  redirectRemembered(): void {
    this.#redirects.sendRemembered(this.#agents.values());
  }

  /**
   * Called when the store answers: records what it missed. If `doubted`, checks whether the store still shows our
   * streams.
   */
  async catchUp(doubted: boolean, signal: AbortSignal): Promise<void> {
    if (doubted) await pause(this.#deps.clock, AFTER_PAUSE_MS, signal);
    if (doubted && !this.#redirects.isShuttingDown) {
      // Each stays set until the store has confirmed its stream; the next heartbeat checks busy ones again.
      for (const agent of this.#agents.values()) this.#doubted.add(agent);
      if (!(await this.#try(() => this.#endStrays()))) return;
    }
    await this.#ends.recordAll();
    if (this.#redirects.isShuttingDown) return;
    const unsure = [...this.#agents.values()].filter(
      (agent) => agent.epoch === undefined || this.#doubted.has(agent),
    );
    for (let at = 0; at < unsure.length; at += TOGETHER) {
      const some = unsure.slice(at, at + TOGETHER).map((agent) => this.#try(() => this.#reattach(agent)));
      if ((await Promise.all(some)).includes(false)) return;
    }
    for (const name of new Set([...this.#held].map(({ introduction }) => describeKey(introduction.key))))
      if (!(await this.#try(() => this.#admitHeld(name)))) return;
  }

  /**
   * Ends streams that the store shows as open here although they have ended: a store that lost its last writes has
   * such.
   */
  async #endStrays(): Promise<void> {
    const { store, replica } = this.#deps;
    const isOpen = (record: RecordSummary): boolean => this.isOpen(record);
    const strays = straysAmong(await store.records(), { replica, isOpen, opening: this.#opening });
    for (let at = 0; at < strays.length; at += TOGETHER)
      await Promise.all(strays.slice(at, at + TOGETHER).map((record) => this.#ends.add(record)));
  }

  get #entry(): { readonly graceMs: number } {
    return { graceMs: this.#deps.graceMs };
  }

  /** `undefined` for a stream that has been replaced meanwhile. */
  #own(agent: AttachedAgent): MutableAgent | undefined {
    const known = this.#agents.get(describeKey(agent.introduction.key));
    return [known, ...this.#held].find((each) => each === agent);
  }

  /** Before a newcomer waits, the companion checks the other incarnation's Envoy. */
  async #ask(introduction: Introduction): Promise<Given> {
    const { store, replica, isRefused } = this.#deps;
    try {
      const given = await store.attach(introduction, replica, this.#entry);
      if (given.kind !== 'held' || !(await isRefused(given.holder))) return given;
      const entry = { ...this.#entry, refusedEpoch: given.holder.epoch };
      return await store.attach(introduction, replica, entry);
    } catch (error) {
      if (!hasCode(error, 'STORE_UNAVAILABLE')) throw error;
      return this.#askHere(introduction);
    }
  }

  /** Decides without the store, by the agents that are attached here. */
  #askHere(introduction: Introduction): Given {
    const agent = this.#agents.get(describeKey(introduction.key));
    const isAsking = this.#turnedAway.has(introduction.incarnation);
    return judgeHere(introduction, agent, { isAsking, graceMs: this.#deps.graceMs });
  }

  #hold(agent: MutableAgent, holder: Pick<DataplaneRecord, 'address'>): void {
    const { introduction, channel } = agent;
    this.#held.add(agent);
    const where = holder.address === undefined ? '' : ` at ${holder.address}`;
    const reason = `another incarnation of ${describeKey(introduction.key)}${where} is attached and may serve`;
    if (!this.#turnedAway.has(introduction.incarnation)) this.#deps.events.held(introduction, reason);
    this.#turnedAway.note(introduction.incarnation);
    channel.held(reason);
  }

  #take(agent: MutableAgent, given: Exclude<Given, { kind: 'superseded' | 'held' }>): void {
    const { events } = this.#deps;
    if (given.kind === 'attached') {
      agent.epoch = given.epoch;
      agent.stored = given.serving === true ? { phase: agent.introduction.phase, serving: true } : undefined;
      agent.leaving ||= given.leaving;
      if (given.raised === true) events.epochsRaised(given.epoch);
    }
    const { introduction, channel, epoch, leaving } = agent;
    this.#replace(agent);
    this.#deps.onTaken(introduction.key);
    events.attached({ ...introduction, epoch }, { fenced: epoch !== undefined, leaving });
    channel.attached(epoch, leaving);
  }

  #replace(agent: MutableAgent): void {
    const name = describeKey(agent.introduction.key);
    const before = this.#agents.get(name);
    this.#ends.forget(name);
    this.#held.delete(agent);
    this.#agents.set(name, agent);
    if (before === undefined || before === agent) return;
    this.#doubted.delete(before);
    if (before.introduction.incarnation === agent.introduction.incarnation) {
      // The agent returns before the companion has noticed that its old stream ended.
      agent.serving = before.serving;
      before.channel.redirect('another stream of this agent is open');
    } else before.channel.supersede();
  }

  /** The holder of this name may be gone: asks again for the agents that wait for it, the oldest first. */
  async #admitHeld(name: string): Promise<void> {
    for (const agent of this.#held) {
      const { introduction, channel } = agent;
      if (describeKey(introduction.key) !== name) continue;
      const given = await this.#ask(introduction);
      if (!this.#held.has(agent)) continue;
      if (given.kind === 'attached') this.#take(agent, given);
      if (given.kind !== 'superseded') continue;
      this.#held.delete(agent);
      channel.supersede();
    }
  }

  async #reattach(agent: MutableAgent): Promise<void> {
    const { store, replica, events } = this.#deps;
    const { introduction, channel, phase } = agent;
    // Its stream ended while the companion asked about others.
    if (this.#agents.get(describeKey(introduction.key)) !== agent) return;
    const shown = agent.epoch === undefined ? {} : { shownEpoch: agent.epoch };
    const given = await store.reattach({ ...introduction, phase, ...shown }, replica, this.#entry);
    if (this.#agents.get(describeKey(introduction.key)) !== agent) return;
    if (given.kind === 'attached') {
      const known = agent.epoch === given.epoch;
      this.#doubted.delete(agent);
      agent.stored = undefined;
      if (known) agent.leaving ||= given.leaving;
      else this.#take(agent, given);
      return;
    }
    this.#forget(agent);
    if (given.kind === 'held') this.#hold(agent, given.holder);
    else if (given.kind === 'elsewhere') channel.redirect('another replica has this agent');
    else {
      this.#turnedAway.note(introduction.incarnation);
      events.superseded(introduction);
      channel.supersede();
    }
  }

  #forget(agent: AttachedAgent): void {
    this.#agents.delete(describeKey(agent.introduction.key));
    this.#doubted.delete(agent);
  }

  /** @returns `false` if the store cannot be reached: the caller need not ask it about the next one */
  async #try(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
    } catch (error) {
      if (hasCode(error, 'STORE_UNAVAILABLE')) return false;
      if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
    }
    return true;
  }
}
