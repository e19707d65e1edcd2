import { pause, type Clock } from '../../kernel/clock.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Arrival, Attachment, DueShare, Store } from '../ports.ts';

/** The stream of one agent, as far as it can be told something. */
export interface AgentChannel {
  attached(epoch: number | undefined, leaving: boolean): void;
  redirect(reason: string): void;
  /** A newer incarnation has the name. */
  supersede(): void;
}

/** One open stream. */
export interface AttachedAgent {
  readonly arrival: Arrival;
  readonly channel: AgentChannel;
  /** `undefined` while the store could not be asked. */
  epoch: number | undefined;
  leaving: boolean;
  /** Whether its Envoy serves, as the agent last said. */
  serving: boolean;
  phase: string;
  /** JSON of the object as the control plane last had it. */
  lastBody: string | undefined;
}

export interface AttachedAgentsDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  /** Names this process among those that share the store. */
  readonly replica: string;
  readonly graceMs: number;
  /** A stream was lost, or the store is back: there may be something to do. */
  readonly nudge: () => void;
  /** A running agent came (back): whether its object is still there is worth a look. */
  readonly onAttached: (agent: AttachedAgent) => void;
  /** The stop report of an agent, as it came. */
  readonly onReported: (arrival: Arrival, report: unknown) => void;
}

interface UnrecordedEnd {
  readonly key: DataplaneKey;
  readonly epoch: number;
  telling: Promise<void> | undefined;
}

/** What became of a stream that wants to attach. */
export type Admission = { readonly agent: AttachedAgent } | { readonly superseded: true };

const HEARTBEAT_MS = 2_000;
/** A replica that said nothing for so long is taken for dead: three heartbeats. */
const SILENT_MS = 6_000;
/** After so long without a heartbeat of our own, others may have taken us for dead. */
const DOUBT_MS = 4_000;
/** After a pause of this process, what happened to its connections meanwhile is learned first. */
const SETTLE_MS = 1_500;

/** The agents whose streams end here. The store learns of each that comes and goes, as soon as it can be reached. */
export class AttachedAgents {
  readonly #deps: AttachedAgentsDeps;
  readonly #agents = new Map<string, AttachedAgent>();
  /**
   * Streams that have ended, of which the store does not know yet, and the attempt to tell it: whoever comes back under
   * that name waits for it, or would be taken for lost after they came.
   */
  readonly #unrecordedEnds = new Map<string, UnrecordedEnd>();
  /** Open streams that the store may take for lost all the same. */
  readonly #mistaken = new Set<AttachedAgent>();
  #draining = false;
  #storeLostAtMs: number | undefined;
  #storeProblem: string | undefined;
  #replicas: readonly string[] = [];

  constructor(deps: AttachedAgentsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#agents.size;
  }

  get storeIsUp(): boolean {
    return this.#storeLostAtMs === undefined;
  }

  /** Why nothing can be written down, as of the last heartbeat: it may still be read. `undefined` if it can. */
  get storeProblem(): string | undefined {
    return this.#storeProblem;
  }

  /** Those that share the store, as of the last heartbeat. */
  get replicas(): readonly string[] {
    return this.#replicas;
  }

  /** This one, among them; all of it while nobody is known. */
  get share(): DueShare {
    const at = this.#replicas.indexOf(this.#deps.replica);
    return at === -1 ? { share: 0, of: 1 } : { share: at, of: this.#replicas.length };
  }

  [Symbol.iterator](): IterableIterator<AttachedAgent> {
    return this.#agents.values();
  }

  find(key: DataplaneKey): AttachedAgent | undefined {
    return this.#agents.get(describeKey(key));
  }

  /** @throws `STORE_BUSY`, and `ENDPOINT_BUSY` while draining */
  async open(arrival: Arrival, channel: AgentChannel): Promise<Admission> {
    if (this.#draining)
      throw new OperationalError('ENDPOINT_BUSY', 'This replica is stopping: attach elsewhere');
    const { store, replica, events } = this.#deps;
    let attachment: Attachment | undefined;
    await this.#unrecordedEnds.get(describeKey(arrival.key))?.telling;
    try {
      attachment = await store.attach(arrival, replica);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
    }
    if (attachment?.kind === 'superseded') {
      events.superseded(arrival);
      return { superseded: true };
    }
    const agent: AttachedAgent = {
      // The store has it: ten thousand of them need not be in memory as well.
      arrival: attachment === undefined ? arrival : { ...arrival, resource: undefined },
      channel,
      epoch: attachment?.epoch,
      leaving: attachment?.leaving ?? false,
      serving: false,
      phase: arrival.phase,
      lastBody: undefined,
    };
    this.#take(agent);
    events.attached(
      { ...arrival, epoch: agent.epoch },
      { fenced: agent.epoch !== undefined, leaving: agent.leaving },
    );
    channel.attached(agent.epoch, agent.leaving);
    return { agent };
  }

  /** The stream of `agent` ended, for whichever reason. */
  async close(agent: AttachedAgent, reason: string): Promise<void> {
    const { arrival, epoch, leaving } = agent;
    const name = describeKey(arrival.key);
    // Another stream of the same name has taken its place here.
    if (this.#agents.get(name) !== agent) return;
    this.#agents.delete(name);
    this.#mistaken.delete(agent);
    if (this.#draining) return;
    const { events, graceMs } = this.#deps;
    if (leaving) events.gone({ ...arrival, epoch });
    else events.lost({ ...arrival, epoch }, reason, arrival.deletable ? graceMs : undefined);
    if (epoch === undefined) return;
    const end: UnrecordedEnd = { key: arrival.key, epoch, telling: undefined };
    this.#unrecordedEnds.set(name, end);
    await this.#recordEnd(name, end);
  }

  /**
   * Whether the stream of this epoch is open here. If the store says otherwise it is told soon: nobody is lost whose
   * stream we hold.
   */
  holds({ key, epoch }: { readonly key: DataplaneKey; readonly epoch: number }): boolean {
    const agent = this.find(key);
    if (agent === undefined || agent.epoch !== epoch) return false;
    this.#mistaken.add(agent);
    return true;
  }

  phaseChanged(agent: AttachedAgent, phase: string, serving: boolean): void {
    agent.phase = phase;
    const began = serving && !agent.serving;
    agent.serving = serving;
    if (began) this.#deps.onAttached(agent);
    if (agent.epoch === undefined) return;
    const at = { key: agent.arrival.key, epoch: agent.epoch };
    // Only shown to people: the next change says it again.
    this.#deps.store.notePhase(at, phase).catch(() => {});
  }

  reported(agent: AttachedAgent, report: unknown): void {
    const { arrival, epoch } = agent;
    this.#deps.events.reported({ ...arrival, epoch }, report);
    this.#deps.onReported(arrival, report);
  }

  /** Its object is to stay when it ends, on purpose: then there is nothing to remember of it. */
  async keep(agent: AttachedAgent): Promise<void> {
    const { store, replica } = this.#deps;
    await store.attach({ ...agent.arrival, deletable: false }, replica);
    agent.leaving = true;
    this.#deps.events.kept({ ...agent.arrival, epoch: agent.epoch });
  }

  /** Sends everybody elsewhere. From here on, the end of a stream is no departure. */
  drain(reason: string): void {
    this.#draining = true;
    for (const { channel } of this.#agents.values()) channel.redirect(reason);
  }

  /** Keeps the store and the streams in step, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    let lastMs = clock.monotonicMs();
    let steadyBeats = 0;
    while (!signal.aborted) {
      const beat = await this.#beat();
      const gapMs = clock.monotonicMs() - lastMs;
      if (!beat && gapMs > DOUBT_MS) this.#sendRemembered();
      if (beat) {
        lastMs = clock.monotonicMs();
        steadyBeats = gapMs > DOUBT_MS ? 0 : steadyBeats + 1;
        await this.#catchUp(gapMs > DOUBT_MS, signal);
        // A store that was away made every replica look silent: give each the time to say that it lives.
        if (steadyBeats * HEARTBEAT_MS > SILENT_MS || this.#deps.store.kind === 'sqlite')
          await this.#loseSilent();
      }
      await pause(clock, HEARTBEAT_MS, signal);
    }
  }

  #take(agent: AttachedAgent): void {
    const name = describeKey(agent.arrival.key);
    const before = this.#agents.get(name);
    this.#unrecordedEnds.delete(name);
    this.#agents.set(name, agent);
    if (before === undefined) return;
    if (before.arrival.incarnation === agent.arrival.incarnation) {
      // It comes back before its old stream has been noticed to be dead.
      agent.serving = before.serving;
      agent.lastBody = before.lastBody;
      before.channel.redirect('another stream of this agent is open');
    } else before.channel.supersede();
  }

  /** @returns whether the store answers */
  async #beat(): Promise<boolean> {
    const { store, replica, clock, events } = this.#deps;
    try {
      this.#replicas = await store.heartbeat(replica, SILENT_MS);
      if (this.#storeLostAtMs !== undefined) {
        events.storeFound(clock.monotonicMs() - this.#storeLostAtMs);
        this.#storeLostAtMs = undefined;
        this.#storeProblem = undefined;
        this.#deps.nudge();
      }
      return true;
    } catch (error) {
      if (this.#storeLostAtMs === undefined) events.storeLost(error);
      this.#storeProblem = describeError(error);
      this.#storeLostAtMs ??= clock.monotonicMs();
      return false;
    }
  }

  /**
   * Other replicas that still reach the store are about to take our streams for lost: who is remembered there had better
   * be seen there. Whoever comes back, because nobody else answers, stays.
   */
  #sendRemembered(): void {
    if (this.#replicas.length < 2) return;
    for (const { epoch, channel } of this.#agents.values()) {
      if (epoch !== undefined) channel.redirect('this replica cannot reach its store');
    }
  }

  /** What the store has not been told yet; after a gap, whether our streams are still ours. */
  async #catchUp(doubted: boolean, signal: AbortSignal): Promise<void> {
    if (doubted) await pause(this.#deps.clock, SETTLE_MS, signal);
    // Until the store has said otherwise of each: one that is busy now is asked again with the next heartbeat.
    if (doubted) for (const agent of this.#agents.values()) this.#mistaken.add(agent);
    await this.#recordEnds();
    for (const agent of this.#agents.values()) {
      if (agent.epoch !== undefined && !this.#mistaken.has(agent)) continue;
      try {
        await this.#reattach(agent);
      } catch (error) {
        if (isUnavailable(error)) return;
        if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
      }
    }
  }

  async #reattach(agent: AttachedAgent): Promise<void> {
    const { store, replica, events } = this.#deps;
    const { arrival, channel } = agent;
    const attachment = await store.reattach(arrival, replica);
    if (this.#agents.get(describeKey(arrival.key)) !== agent) return;
    if (attachment.kind === 'attached') {
      const known = agent.epoch === attachment.epoch;
      this.#mistaken.delete(agent);
      agent.epoch = attachment.epoch;
      agent.leaving ||= attachment.leaving;
      if (known) return;
      events.attached({ ...arrival, epoch: agent.epoch }, { fenced: true, leaving: agent.leaving });
      channel.attached(agent.epoch, agent.leaving);
      return;
    }
    this.#agents.delete(describeKey(arrival.key));
    this.#mistaken.delete(agent);
    if (attachment.kind === 'superseded') {
      events.superseded(arrival);
      channel.supersede();
    } else channel.redirect('another replica has this agent');
  }

  async #recordEnds(): Promise<void> {
    await Promise.all([...this.#unrecordedEnds].map(([name, end]) => this.#recordEnd(name, end)));
  }

  #recordEnd(name: string, end: UnrecordedEnd): Promise<void> {
    end.telling ??= this.#tellEnd(name, end).finally(() => {
      end.telling = undefined;
    });
    return end.telling;
  }

  /** What the store cannot be told now is told with the next heartbeat. */
  async #tellEnd(name: string, end: UnrecordedEnd): Promise<void> {
    const { store, replica, nudge } = this.#deps;
    try {
      await store.detach(end, replica);
      if (this.#unrecordedEnds.get(name) === end) this.#unrecordedEnds.delete(name);
      nudge();
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
    }
  }

  async #loseSilent(): Promise<void> {
    const { store, events, nudge } = this.#deps;
    try {
      const lost = await store.loseStreamsOfSilentReplicas(SILENT_MS);
      if (lost === 0) return;
      events.streamsLost(lost);
      nudge();
    } catch (error) {
      if (!isUnavailable(error)) throw error;
    }
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof OperationalError && error.code === 'STORE_UNAVAILABLE';
}
