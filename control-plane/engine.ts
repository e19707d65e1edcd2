import type { Clock } from '../kernel/clock.ts';
import { OperationalError } from '../kernel/errors.ts';
import type { DataplaneKey } from '../kuma/dataplane.ts';
import { RequestedDepartures } from './departures/requested-departures.ts';
import { AttachedAgents } from './agents/attached-agents.ts';
import { ControlPlaneNews } from './agents/control-plane-news.ts';
import { ExpectedAgents } from './agents/expected-agents.ts';
import { ReplicaHeartbeat } from './agents/replica-heartbeat.ts';
import { DeletionAttempt, type Doubt } from './departures/attempt.ts';
import { BrakeGate } from './evidence/brake-gate.ts';
import type { BrakeSettings } from './evidence/brake.pure.ts';
import { DepartureNotes } from './page/departure-notes.ts';
import { Departures } from './departures/departures.ts';
import type { DeregistrarEvents } from './events.ts';
import { Healer } from './evidence/healer.ts';
import { LookLog } from './evidence/look-log.ts';
import { keepRunning, periodically } from './periodically.ts';
import type { AttemptedDeletion, ControlPlanes, DueShare, Predecessors, Store } from './ports.ts';
import type { DataplaneRecord } from './records.pure.ts';
import { Sweeper } from './evidence/sweeper.ts';
import { ZoneWatch } from './evidence/zone-watch.ts';
import { Witnesses, type WitnessSettings } from './witness/witnesses.ts';

export interface EngineSettings {
  readonly graceMs: number;
  readonly sweepOfflineAfterMs: number;
  readonly sweep: 'delete' | 'report' | 'off';
  readonly heal: boolean;
  readonly brake: BrakeSettings;
}

export interface EngineDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  /** The name of this process among the replicas of the store. */
  readonly replica: string;
  readonly settings: EngineSettings;
  readonly onAttempt: (attempt: AttemptedDeletion, tookMs: number) => void;
  readonly onHealed: () => void;
  readonly witness: WitnessSettings;
  /** The share of the time since the last call in which this process was busy; left out: none. */
  readonly busyShare?: () => number;
  /** Whether the record's inbounds refuse this process. Never throws; left out: never. */
  readonly isRefused?: (record: DataplaneRecord) => Promise<boolean>;
}

/** How long departures are kept, for `undo` and to recognise old incarnations. */
const KEEP_MS = 24 * 3_600_000;
/** A name with more incarnations in a day has other problems. */
const PREDECESSORS = 100;
const HOUSEKEEPING_MS = 60_000;
/** A SQLite file has one writer; each of PostgreSQL's attempts holds a connection. */
const CONCURRENCY = { sqlite: { awaited: 64, due: 16 }, postgres: { awaited: 12, due: 4 } } as const;

/** Wires everything that acts without a caller. The callers' part is in `rpc/`. */
export class Engine {
  readonly deps: EngineDeps;
  readonly watch: ZoneWatch;
  readonly agents: AttachedAgents;
  readonly heartbeat: ReplicaHeartbeat;
  readonly expected: ExpectedAgents;
  readonly departures: Departures;
  readonly requested: RequestedDepartures;
  readonly brakes: BrakeGate;
  readonly sweeper: Sweeper;
  readonly witnesses: Witnesses;
  readonly notes = new DepartureNotes();
  readonly #healer: Healer;
  readonly #news: ControlPlaneNews;
  readonly #looks: LookLog;

  constructor(deps: EngineDeps) {
    const { clock, events, store, controlPlanes, replica, settings } = deps;
    const { graceMs, sweepOfflineAfterMs: offlineAfterMs } = settings;
    const nudge = (): void => {
      this.departures.nudge();
    };
    const onAttached = (): void => {
      this.#healer.lookSoon();
    };
    const onReturned = (): void => void this.#onReturned();
    const common = { clock, events, store, controlPlanes, replica, graceMs, nudge };
    this.deps = deps;
    this.watch = new ZoneWatch({ ...common, host: deps.witness.host, onReturned, busyShare: deps.busyShare });
    const { watch } = this;
    const looks = new LookLog(clock, watch.presence);
    this.#looks = looks;
    this.brakes = new BrakeGate({ store, watch, settings: settings.brake });
    const isRefused = deps.isRefused ?? (() => Promise.resolve(false));
    const attempt = this.#attempts(isRefused);
    const { onHealed } = deps;
    const onAttempt = (made: AttemptedDeletion, tookMs: number): void => {
      this.notes.attempted(made);
      deps.onAttempt(made, tookMs);
    };
    const onReported = this.notes.reported.bind(this.notes);
    const share = (): DueShare | undefined => this.#share;
    const concurrency = CONCURRENCY[store.kind];
    this.departures = new Departures({ ...common, attempt, concurrency, onAttempt, share });
    this.agents = new AttachedAgents({
      ...common,
      isLate: () => watch.presence.hadBreak,
      onAttached,
      onReported,
      isRefused,
      onLost: (agent, { cause }) => this.witnesses.lost(agent, cause),
      onTaken: (key) => {
        this.witnesses.returned(key);
      },
    });
    const { agents, departures } = this;
    this.#news = new ControlPlaneNews({ clock, agents, facts: () => watch.facts });
    this.expected = new ExpectedAgents(store);
    this.heartbeat = new ReplicaHeartbeat({
      ...common,
      busyMs: () => watch.presence.busyMs,
      held: () => agents.held,
      onExpected: (count) => this.expected.note(count),
      onBeat: (doubted, signal) => agents.catchUp(doubted, signal),
      onDoubt: () => {
        agents.redirectRemembered();
      },
    });
    const { random, witness } = deps;
    this.witnesses = new Witnesses({ ...common, random, agents, watch, share, settings: witness });
    this.requested = new RequestedDepartures({ ...common, agents, departures, attempt });
    this.#healer = new Healer({ ...common, watch, agents, onHealed, sweepOfflineAfterMs: offlineAfterMs });
    const sweeping = { predecessors: this.#predecessors, offlineAfterMs, mode: settings.sweep };
    this.sweeper = new Sweeper({ ...common, watch, looks, ...sweeping });
  }

  /** Ends with `signal`, once all work in progress has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { heal } = this.deps.settings;
    const parts = [
      this.watch.presence,
      this.watch,
      this.heartbeat,
      this.#news,
      this.requested,
      this.departures,
      this.sweeper,
      this.witnesses,
      ...(heal ? [this.#healer] : []),
    ];
    await Promise.all([
      ...parts.map((part) => keepRunning(this.deps, part, signal)),
      periodically(this.deps, () => this.#keepHouse(), { everyMs: HOUSEKEEPING_MS, signal }),
    ]);
  }

  /** A replica without a control plane takes no work, which other replicas can finish. */
  get #share(): DueShare | undefined {
    const { share } = this.heartbeat;
    const { steadyMs, zone } = this.watch;
    if (zone.kind === 'foreign') return undefined;
    return share.of > 1 && steadyMs === 0 ? undefined : share;
  }

  #attempts(isRefused: NonNullable<EngineDeps['isRefused']>): DeletionAttempt {
    const { clock, random, controlPlanes, settings } = this.deps;
    const { graceMs, sweepOfflineAfterMs } = settings;
    return new DeletionAttempt({
      clock,
      random,
      controlPlanes,
      watch: this.watch,
      looks: this.#looks,
      // Without the store, the companion judges only deletions that the agent requested.
      sidelining: (key) => this.deps.store.sidelining(key).catch(() => undefined),
      isAttached: (record) => this.agents.isOpen(record),
      doubt: (key) => this.#doubt(key),
      isUnproven: (record) => this.#isUnproven(record),
      onContradiction: (record) => {
        this.agents.doubt(record);
      },
      isRefused,
      predecessors: this.#predecessors,
      brake: (stored) => this.brakes.judge(stored),
      graceMs,
      sweepOfflineAfterMs,
    });
  }

  #doubt(key: DataplaneKey): Doubt | undefined {
    const { graceMs } = this.deps.settings;
    if (this.agents.isHeard(key)) {
      const reason = 'an agent of its name asks to attach';
      return { guard: 'subscription-online', reason, afterMs: graceMs };
    }
    const hiddenMs = this.heartbeat.hiddenAgentsMs(graceMs);
    if (hiddenMs === 0) return undefined;
    const reason = 'the store has just come back: its agent may be attached to another replica';
    return { guard: 'evidence-too-young', reason, afterMs: hiddenMs };
  }

  /**
   * Its stream seems to be open: here, but its agent has sent nothing on it since this process was paused; or at a
   * replica that may be dead.
   */
  #isUnproven({ key, incarnation, lostAtMs, replica }: DataplaneRecord): boolean {
    if (lostAtMs !== undefined) return false;
    const agent = this.agents.find(key);
    if (agent?.introduction.incarnation === incarnation) return agent.saidMs < this.watch.presence.freshMs;
    return (
      replica === undefined || !this.heartbeat.replicas.includes(replica) || replica === this.deps.replica
    );
  }

  /**
   * Empty while the store is away: objects of other incarnations then stay. A superseded incarnation that still asks
   * for its name has not ended.
   */
  readonly #predecessors: Predecessors = async (key, causes) => {
    const departures = await this.deps.store.departures({ key, causes, limit: PREDECESSORS }).catch(() => []);
    const over = departures.map(({ incarnation }) => incarnation);
    return new Set(over.filter((each) => each !== '' && !this.agents.isAsking(each)));
  };

  /** Deletions that waited for this control plane may be judged now. */
  async #onReturned(): Promise<void> {
    const { store, events } = this.deps;
    try {
      await store.hasten();
      this.departures.nudge();
    } catch (error) {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
    }
  }

  async #keepHouse(): Promise<void> {
    const { store } = this.deps;
    this.#looks.prune();
    await store.prune((await store.nowMs()) - KEEP_MS);
  }
}
