import { pause, type Clock } from '../../kernel/clock.ts';
import { VERSION } from '../../kernel/version.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import { readFleet } from '../agents/fleet-reading.ts';
import type { ReplicaHeartbeat } from '../agents/replica-heartbeat.ts';
import type { BrakeGate } from '../evidence/brake-gate.ts';
import type { BrakeStanding } from '../evidence/brake.pure.ts';
import { changeBetween, type FleetChange } from './fleet-change.pure.ts';
import {
  GUARD_WORDS,
  viewDataplane,
  viewDeparture,
  type FleetControlPlane,
  type FleetHead,
  type FleetSnapshot,
} from './fleet-view.pure.ts';
import type { DepartureNotes } from './departure-notes.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Store } from '../ports.ts';
import type { FleetRecord } from '../records.pure.ts';
import type { AcquaintanceSearch } from '../witness/acquaintances.ts';
import type { WatchedControlPlane, ZoneWatch } from '../evidence/zone-watch.ts';

export interface FleetFeedDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly watch: Pick<ZoneWatch, 'controlPlanes'>;
  readonly agents: Pick<AttachedAgents, typeof Symbol.iterator>;
  readonly heartbeat: Pick<ReplicaHeartbeat, 'replicas' | 'storeProblem'>;
  readonly brakes: Pick<BrakeGate, 'standings'>;
  readonly notes: DepartureNotes;
  readonly search: Pick<AcquaintanceSearch, 'watchfulness'>;
  readonly replica: string;
}

/** `change` is what differs from the snapshot before; `undefined` for the first. */
export type FleetListener = (snapshot: FleetSnapshot, change: FleetChange | undefined) => void;

type Standings = Promise<readonly BrakeStanding[]>;

const INTERVAL_MS = 1_000;
/** The share of time that reading may take: a large fleet is read less often. */
const TIMES_ITS_COST = 10;
/** The interval of the brake, which lists all dataplanes of the control plane, while it holds no deletion back. */
const BRAKES_MS = 10_000;

/** Reads the page's content once for all open pages, and only while one is open. */
export class FleetFeed {
  readonly #deps: FleetFeedDeps;
  readonly #startedAtMs: number;
  readonly #listeners = new Set<FleetListener>();
  #stop: AbortController | undefined;
  #last: FleetSnapshot | undefined;
  #standings: { readonly atMs: number; readonly held: string; readonly brakes: Standings } | undefined;
  #reading: { readonly atMs: number; readonly snapshot: Promise<FleetSnapshot> } | undefined;

  constructor(deps: FleetFeedDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.wallMs();
  }

  /** Not older than a second. */
  snapshot(): Promise<FleetSnapshot> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#reading === undefined || nowMs - this.#reading.atMs >= INTERVAL_MS)
      this.#reading = { atMs: nowMs, snapshot: this.#read() };
    return this.#reading.snapshot;
  }

  /**
   * Sends `listener` the state of the fleet, and each change.
   *
   * @returns a function that ends that
   */
  follow(listener: FleetListener): () => void {
    this.#listeners.add(listener);
    if (this.#last !== undefined) listener(this.#last, undefined);
    if (this.#stop === undefined) {
      this.#stop = new AbortController();
      void this.#run(this.#stop.signal);
    }
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#stop?.abort();
      this.#stop = undefined;
      this.#last = undefined;
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, events } = this.#deps;
    while (!signal.aborted) {
      const beganMs = clock.monotonicMs();
      try {
        const snapshot = await this.snapshot();
        // The last page was closed, or another one was opened meanwhile.
        if (this.#stop?.signal !== signal) return;
        this.#tell(snapshot);
      } catch (error) {
        events.failedUnexpectedly(error);
      }
      const costMs = clock.monotonicMs() - beganMs;
      await pause(clock, Math.max(INTERVAL_MS, costMs * TIMES_ITS_COST), signal);
    }
  }

  #tell(snapshot: FleetSnapshot): void {
    const before = this.#last;
    const change = before === undefined ? undefined : changeBetween(before, snapshot);
    if (before !== undefined && change === undefined) return;
    this.#last = snapshot;
    for (const listener of this.#listeners) listener(snapshot, change);
  }

  async #read(): Promise<FleetSnapshot> {
    const { notes, clock, search } = this.#deps;
    const { nowMs, records, departures, sidelinings, problem } = await readFleet(this.#deps);
    const out = new Map(sidelinings.map((each) => [describeKey(each.key), each]));
    const standings = nowMs === undefined ? [] : await this.#brakes(records);
    return {
      nowMs: Math.round(nowMs ?? clock.wallMs()),
      head: this.#head(standings, problem),
      dataplanes: records
        .map((each) => {
          const name = describeKey(each.key);
          return viewDataplane(each, out.get(name), search.watchfulness(name)?.problem);
        })
        .toSorted((a, b) => compare(a.id, b.id)),
      departures: departures.map((record) => viewDeparture(record, notes.find(record))),
    };
  }

  #brakes(records: readonly FleetRecord[]): Standings {
    const { clock, brakes } = this.#deps;
    const nowMs = clock.monotonicMs();
    const held = records
      .filter(({ guard }) => guard === 'brake')
      .map(({ epoch }) => epoch)
      .join(' ');
    const last = this.#standings;
    if (last?.held === held && nowMs - last.atMs < BRAKES_MS) return last.brakes;
    // It needs a control plane that answers.
    const asked = brakes.standings().catch(() => []);
    this.#standings = { atMs: nowMs, held, brakes: asked };
    return asked;
  }

  #head(standings: readonly BrakeStanding[], problem: string): FleetHead {
    const { store, watch, heartbeat, replica } = this.#deps;
    return {
      version: VERSION,
      replica,
      startedAtMs: this.#startedAtMs,
      replicas: heartbeat.replicas,
      store: { kind: store.kind, problem },
      controlPlanes: watch.controlPlanes.map(viewControlPlane),
      brakes: standings.map(({ releasedForMs: _released, ...brake }) => brake),
      guards: GUARD_WORDS,
    };
  }
}

function viewControlPlane({ url, seen }: WatchedControlPlane): FleetControlPlane {
  if ('problem' in seen) return { url, mode: '', version: '', instanceId: '', problem: seen.problem };
  const { mode = '', version = '', instanceId = '' } = seen.facts;
  return { url, mode, version, instanceId, problem: '' };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
