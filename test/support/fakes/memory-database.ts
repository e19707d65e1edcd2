import type {
  Acquaintance,
  DataplaneRecord,
  DeletedBody,
  DepartureRecord,
  InstanceRecord,
  SideliningRecord,
  ZoneIdentity,
} from '../../../control-plane/records.pure.ts';
import { NameLocks } from '../../../control-plane/store/name-locks.ts';
import { describeKey, type DataplaneKey } from '../../../kuma/dataplane.ts';
import type { Clock } from '../../../kernel/clock.ts';

/** Everything that a store keeps. Values never change once they are in here, so a copy is shallow. */
export interface MemoryTables {
  readonly rows: Map<string, DataplaneRecord>;
  readonly departures: DepartureRecord[];
  readonly bodies: Map<number, DeletedBody>;
  readonly replicas: Map<string, number>;
  readonly releases: Map<string, number>;
  readonly instances: Map<string, InstanceRecord & { readonly seenAtMs: number }>;
  readonly sidelinings: Map<string, SideliningRecord>;
  readonly acquaintances: Map<string, Acquaintance>;
  zone: ZoneIdentity | undefined;
  epochs: number;
  /** The latest time ever recorded, ms since the epoch. */
  latestMs: number;
}

/** What several stores of one test share, as replicas share a database. Its locks do not outlive it. */
export class MemoryDatabase {
  readonly kind: 'sqlite' | 'postgres';
  /** The database server's own clock. */
  readonly clock: Clock;
  readonly locks: NameLocks;
  tables: MemoryTables = emptyTables();
  /** Ends each session that holds a name, as a failover does. */
  readonly sessions = new Set<() => void>();

  constructor(kind: 'sqlite' | 'postgres', clock: Clock, lockWaitMs: number) {
    this.kind = kind;
    this.clock = clock;
    this.locks = new NameLocks(clock, lockWaitMs);
  }

  find(key: DataplaneKey): DataplaneRecord | undefined {
    return this.tables.rows.get(describeKey(key));
  }

  put(row: DataplaneRecord): void {
    this.tables.rows.set(describeKey(row.key), row);
  }

  /** Changes the row of this epoch, if it is still there. */
  change({ key, epoch }: Pick<DataplaneRecord, 'key' | 'epoch'>, to: Partial<DataplaneRecord>): void {
    const row = this.find(key);
    if (row?.epoch === epoch) this.put({ ...row, ...to });
  }

  remove({ key, epoch }: Pick<DataplaneRecord, 'key' | 'epoch'>): void {
    if (this.find(key)?.epoch === epoch) this.tables.rows.delete(describeKey(key));
  }

  /** @returns in the order of their epochs */
  rowsWhere(condition: (row: DataplaneRecord) => boolean): DataplaneRecord[] {
    return [...this.tables.rows.values()].filter(condition).toSorted((a, b) => a.epoch - b.epoch);
  }

  /** @param shown an epoch that an agent says it was given */
  nextEpoch(shown = 0): { readonly epoch: number; readonly raised: boolean } {
    const { tables } = this;
    const rows = [...tables.rows.values(), ...tables.departures, ...tables.bodies.values()];
    const highest = Math.max(0, ...rows.map(({ epoch }) => epoch));
    const above = shown > highest && shown <= highest + 1_000_000 ? shown : highest;
    const raised = tables.epochs + 1 <= above;
    tables.epochs = Math.max(tables.epochs, above) + 1;
    return { epoch: tables.epochs, raised };
  }

  /** The contents now, as a backup or a replica that lags behind has them. */
  snapshot(): MemoryTables {
    const { rows, departures, bodies, replicas, releases, instances, zone, epochs, latestMs } = this.tables;
    const { sidelinings, acquaintances } = this.tables;
    return {
      rows: new Map(rows),
      departures: [...departures],
      bodies: new Map(bodies),
      replicas: new Map(replicas),
      releases: new Map(releases),
      instances: new Map(instances),
      sidelinings: new Map(sidelinings),
      acquaintances: new Map(acquaintances),
      zone,
      epochs,
      latestMs,
    };
  }
}

export function emptyTables(): MemoryTables {
  return {
    rows: new Map(),
    departures: [],
    bodies: new Map(),
    replicas: new Map(),
    releases: new Map(),
    instances: new Map(),
    sidelinings: new Map(),
    acquaintances: new Map(),
    zone: undefined,
    epochs: 0,
    latestMs: 0,
  };
}

export function activeSidelinings({ sidelinings }: MemoryTables): readonly SideliningRecord[] {
  return [...sidelinings.values()].filter(({ stage }) => stage !== 'released');
}
