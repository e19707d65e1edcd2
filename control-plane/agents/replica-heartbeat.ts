import { pause, type Clock } from '../../kernel/clock.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { DueShare, Store, StreamSum } from '../ports.ts';
import { returnTimeMs } from './return-time.pure.ts';

export interface ReplicaHeartbeatDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  /** The name of this process among the replicas of the store. */
  readonly replica: string;
  /** Called when streams were lost or the store is back: departures may be due. */
  readonly nudge: () => void;
  /**
   * Called when the store answers.
   *
   * @param doubted other replicas may have counted this one as dead meanwhile
   */
  readonly onBeat: (doubted: boolean, signal: AbortSignal) => Promise<void>;
  /** The streams that are open here and that the store should have as attached; `undefined` while that changes. */
  readonly held: () => StreamSum | undefined;
  /** How long this process has been too busy to attach agents, since it began, in ms. */
  readonly busyMs: () => number;
  /** Called with the number of agents that are expected back at some replica. */
  readonly onExpected: (agents: number) => Promise<void>;
  /** Called when other replicas will soon count this one as dead. */
  readonly onDoubt: () => void;
}

const HEARTBEAT_MS = 2_000;
/** A replica without a heartbeat for this time is silent: three heartbeats. */
const SILENT_MS = 6_000;
/** Upper limit of the time that a busy process adds: the object of a lost host must not stay for ever. */
const MOST_OWED_MS = 600_000;
/** After this time without a heartbeat, other replicas may count this one as dead. */
const DOUBT_MS = 4_000;

/** Tells the other replicas that this replica lives, and notices replicas that fall silent. */
export class ReplicaHeartbeat {
  readonly #deps: ReplicaHeartbeatDeps;
  #storeLostAtMs: number | undefined;
  #storeFoundAtMs = Number.NEGATIVE_INFINITY;
  #storeProblem: string | undefined;
  #replicas: readonly string[] = [];
  /** The store's time of this replica's last heartbeat. */
  #saidMs: number | undefined;
  /** Whether the last heartbeat found other streams in the store than are open here. */
  #differed = false;
  /** Whether this replica or its store was unavailable since it last looked for silent replicas. */
  #wasAway = true;
  #catchingUp: Promise<void> | undefined;
  #isDoubted = false;
  /** The value of `busyMs` when no agent was expected back. */
  #busyBeforeMs = 0;

  constructor(deps: ReplicaHeartbeatDeps) {
    this.#deps = deps;
  }

  /** Why the store cannot be written, as of the last heartbeat; it may still be read. `undefined` if it can. */
  get storeProblem(): string | undefined {
    return this.#storeProblem;
  }

  get storeIsUp(): boolean {
    return this.#storeLostAtMs === undefined;
  }

  /**
   * For how many ms more other replicas may have agents attached that the store does not know of: it is away, or was
   * until less than `withinMs` ago. 0 if there is no other replica.
   */
  hiddenAgentsMs(withinMs: number): number {
    if (this.#replicas.length <= 1) return 0;
    const sinceMs = this.#storeLostAtMs === undefined ? this.#storeFoundAtMs : this.#deps.clock.monotonicMs();
    return Math.max(0, sinceMs + withinMs - this.#deps.clock.monotonicMs());
  }

  /** The replicas of the store, as of the last heartbeat. */
  get replicas(): readonly string[] {
    return this.#replicas;
  }

  /** This replica's share of the work; everything while it knows no other replica. */
  get share(): DueShare {
    const at = this.#replicas.indexOf(this.#deps.replica);
    return at === -1 ? { share: 0, of: 1 } : { share: at, of: this.#replicas.length };
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, store, onDoubt } = this.#deps;
    let lastMs = clock.monotonicMs();
    let steadyBeats = 0;
    while (!signal.aborted) {
      const beat = await this.#beat();
      const gapMs = clock.monotonicMs() - lastMs;
      const doubted = gapMs > DOUBT_MS || beat === 'forgotten';
      this.#wasAway ||= doubted;
      if (beat === 'failed' && doubted && this.#replicas.length > 1) onDoubt();
      if (beat !== 'failed') {
        lastMs = clock.monotonicMs();
        steadyBeats = doubted ? 0 : steadyBeats + 1;
        this.#catchUp(doubted, signal);
        // After an outage of the store, or a pause of this process, every replica looks silent. Each needs time to
        // report that it lives.
        if (steadyBeats * HEARTBEAT_MS > SILENT_MS || store.kind === 'sqlite') await this.#noteSilence();
      }
      await pause(clock, HEARTBEAT_MS, signal);
    }
    await this.#catchingUp;
  }

  /** Runs beside the heartbeats, which must not wait for these writes. */
  #catchUp(doubted: boolean, signal: AbortSignal): void {
    this.#isDoubted ||= doubted;
    this.#catchingUp ??= this.#catchUpNow(signal)
      .catch(this.#deps.events.failedUnexpectedly)
      .finally(() => {
        this.#catchingUp = undefined;
      });
  }

  async #catchUpNow(signal: AbortSignal): Promise<void> {
    const doubted = this.#isDoubted;
    // A doubt that arises from now on waits for the next heartbeat.
    this.#isDoubted = false;
    await this.#deps.onBeat(doubted, signal);
  }

  /**
   * @returns `forgotten` if the store may have lost what this replica recorded: other replicas counted this one as
   * dead while its machine was suspended or when the database's clock was set; or the store was unavailable and may
   * have gone back in time; or it showed, twice in a row, other streams than are open here
   */
  async #beat(): Promise<'remembered' | 'forgotten' | 'failed'> {
    const { store, replica, clock, events } = this.#deps;
    const before = this.#deps.held();
    try {
      const { replicas, foundMs, saidMs, held } = await store.heartbeat(replica, SILENT_MS);
      const isOther = this.#saidMs !== undefined && foundMs !== this.#saidMs;
      const isForgotten = isOther || this.#storeLostAtMs !== undefined || this.#differsAgain(held, before);
      this.#replicas = replicas;
      this.#saidMs = saidMs;
      if (this.#storeLostAtMs !== undefined) {
        events.storeFound(clock.monotonicMs() - this.#storeLostAtMs);
        this.#storeLostAtMs = undefined;
        this.#storeFoundAtMs = clock.monotonicMs();
        this.#storeProblem = undefined;
        this.#deps.nudge();
      }
      return isForgotten ? 'forgotten' : 'remembered';
    } catch (error) {
      if (this.#storeLostAtMs === undefined) events.storeLost(error);
      this.#storeProblem = describeError(error);
      this.#storeLostAtMs ??= clock.monotonicMs();
      return 'failed';
    }
  }

  /**
   * Agents that come or go during the look make a difference that proves nothing: the earlier finding stays.
   *
   * @param before the streams that were open here before the store was asked
   */
  #differsAgain(stored: StreamSum, before: StreamSum | undefined): boolean {
    const open = this.#deps.held();
    if (open === undefined || before === undefined || !isEqual(open, before)) return false;
    const differed = this.#differed;
    this.#differed = !isEqual(open, stored);
    return differed && this.#differed;
  }

  async #noteSilence(): Promise<void> {
    const { store, events, nudge, onExpected, replica, busyMs } = this.#deps;
    const owedMs = Math.min(MOST_OWED_MS, busyMs() - this.#busyBeforeMs);
    const anew = this.#wasAway && this.#replicas.length <= 1;
    try {
      const { unseen, lost, expected } = await store.noteSilence({
        self: replica,
        silentMs: SILENT_MS,
        returnMs: returnTimeMs,
        owedMs,
        anew,
      });
      if (expected === 0) this.#busyBeforeMs = busyMs();
      this.#wasAway = false;
      await onExpected(expected);
      if (unseen > 0) events.replicaLost(unseen, returnTimeMs(unseen));
      if (lost === 0) return;
      events.agentsMissing(lost);
      nudge();
    } catch (error) {
      // Two replicas may note the same silence at once: the database then cancels one. The next heartbeat tries again.
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
    }
  }
}

function isEqual(a: StreamSum, b: StreamSum): boolean {
  return a.count === b.count && a.epochs === b.epochs;
}
