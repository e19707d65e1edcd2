import type { EngineSettings } from '../../control-plane/engine.ts';
import { FakeControlPlanes } from '../support/fakes/fake-control-planes.ts';
import type { FakePlane, FakeZone } from '../support/fakes/fake-zone.ts';
import { MemoryCompanion } from '../support/fakes/memory-companion.ts';
import type { MemoryDatabase } from '../support/fakes/memory-database.ts';
import { MemoryStore } from '../support/fakes/memory-store.ts';
import { ownLook } from '../../control-plane/witness/own-look.ts';
import type { WitnessSettings } from '../../control-plane/witness/witnesses.ts';
import type { SimConnections } from './sim-network.ts';
import type { SimHost } from './sim-host.ts';
import { SimProcess } from './sim-process.ts';
import { COMPANION, type SimReach } from './sim-reach.ts';
import type { Timeline } from './timeline.ts';
import { Wires } from './wires.ts';

export interface ReplicaPlace {
  readonly timeline: Timeline;
  readonly zone: FakeZone;
  /** The control planes that it is told of. */
  readonly named: readonly FakePlane[];
  readonly database: MemoryDatabase;
  readonly random: () => number;
  readonly settings: Partial<EngineSettings>;
  readonly connections: SimConnections;
  /** The host at an address. */
  readonly hostAt: (address: string | undefined) => SimHost | undefined;
  /** Where its own looks go; `undefined`: it asks no witness. */
  readonly reach: SimReach | undefined;
}

/** One companion at one place: started, killed and started again, it is another process each time. */
export class SimReplica {
  readonly wires: Wires;
  process: SimProcess | undefined;
  companion: MemoryCompanion | undefined;
  upSinceMs = 0;
  /** Told of each process that ended: its connections are reset. */
  onDeath: (process: SimProcess) => void = () => {};
  /** Told of each line that it logs. */
  onLine: (line: string) => void = () => {};
  readonly #name: string;
  readonly #place: ReplicaPlace;
  #starts = 0;

  constructor(name: string, place: ReplicaPlace) {
    this.#name = name;
    this.#place = place;
    this.wires = new Wires(place.timeline, place.random);
  }

  get isUp(): boolean {
    return this.process?.isDead === false;
  }

  start(): void {
    if (this.isUp) return;
    const { timeline, zone, named, database, random, settings, connections, reach } = this.#place;
    this.#starts += 1;
    const process = new SimProcess(timeline);
    const store = new MemoryStore(database, { clock: process });
    const planes = new FakeControlPlanes(zone, named, this.wires.rest(process));
    this.process = process;
    this.upSinceMs = timeline.monotonicMs();
    process.onDeath = () => {
      void store.close();
      this.onDeath(process);
    };
    this.companion = new MemoryCompanion({
      clock: process,
      random,
      store: this.wires.store(process, store),
      controlPlanes: this.wires.controlPlanes(process, planes),
      replica: `${this.#name}-${this.#starts}`,
      settings,
      signal: NEVER,
      isRefused: async ({ address }) => {
        await process.step(REFUSED_MS);
        return this.#isRefused(this.#place.hostAt(address));
      },
      ...(reach === undefined
        ? {}
        : { connectionOf: (peer) => connections.find(peer), witness: this.#witness(process, reach) }),
    }).start();
    this.companion.log.onLine = ({ event, message, fields }) => {
      if (!process.isDead) this.onLine([event, fields?.['dataplane'], message].join(' '));
    };
  }

  /** Its agents are sent elsewhere, then it ends. */
  stop(afterMs: number): void {
    this.companion?.engine.agents.shutDown('this replica is stopping');
    const { process } = this;
    this.#place.timeline.after(afterMs, () => process?.die());
  }

  /** Its kernel answers that nothing listens. */
  #isRefused(host: SimHost | undefined): boolean {
    if (host === undefined || host.companionCut || host.hasNoPower) return false;
    return host.run === undefined || host.run.envoy.isDead;
  }

  #witness(clock: SimProcess, reach: SimReach): Partial<WitnessSettings> {
    return {
      isOn: true,
      networks: { permits: (address, peer) => address === peer },
      host: this.#name,
      look: ownLook({ clock, connect: reach.connect.bind(reach, COMPANION) }),
    };
  }
}

const REFUSED_MS = 1;

/** A process of a simulation ends without a word: its signal never aborts, and keeps no listeners for that. */
const NEVER = {
  aborted: false,
  reason: undefined,
  addEventListener: () => {},
  removeEventListener: () => {},
  throwIfAborted: () => {},
} as unknown as AbortSignal;
