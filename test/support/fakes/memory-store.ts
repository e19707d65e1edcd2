import { joined, mayBeSameZone } from '../../../control-plane/evidence/zone-binding.pure.ts';
import type {
  Acquaintance,
  Cause,
  DataplaneRecord,
  InstanceRecord,
  RecordCount,
  RecordSummary,
  SideliningRecord,
  ZoneIdentity,
} from '../../../control-plane/records.pure.ts';
import type {
  Alone,
  AttemptedDeletion,
  AttemptResult,
  DueShare,
  Fence,
  Heartbeat,
  Silence,
  Store,
  UnseenCount,
} from '../../../control-plane/ports.ts';
import { advancingTime, sharedTime } from '../../../control-plane/store/advancing-time.ts';
import { lease } from '../../../control-plane/store/lease.ts';
import { STORE_LIMITS, type StoreLimits } from '../../../control-plane/store/limits.ts';
import type { Clock } from '../../../kernel/clock.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import { describeKey, type DataplaneKey } from '../../../kuma/dataplane.ts';
import { attach, departureBase, leave, reattach, UNTRIED, type MemorySession } from './memory-attaching.ts';
import { bodiesOf, boundTables, summaryOf } from './memory-bounds.ts';
import { activeSidelinings, type MemoryDatabase, type MemoryTables } from './memory-database.ts';
import { countRecords } from './record-counts.ts';

type Which = Parameters<Store['attempt']>[0];
type At = Pick<DataplaneRecord, 'key' | 'epoch'>;

/** For a caller without a grace of its own. */
const ANY_ENTRY = { graceMs: 0 };

export interface MemoryStoreOptions {
  /** The clock of the process that uses this store; the database has its own. */
  readonly clock: Clock;
  readonly limits?: Partial<StoreLimits>;
}

/** Work that has been due for longer is any replica's. */
const OTHERS_MS = 2_000;
const WITNESSES_KEPT_MS = 1_200_000;

/**
 * A store in memory that keeps the contract of the real ones: one handle for each process that shares `database`.
 * Callers wait in it only for a name that another caller holds.
 */
export class MemoryStore implements Store {
  readonly kind: 'sqlite' | 'postgres';
  readonly #database: MemoryDatabase;
  readonly #clock: Clock;
  readonly #limits: StoreLimits;
  readonly #nowMs: () => number;
  readonly #held = new Set<() => void>();
  #closed = false;

  constructor(database: MemoryDatabase, { clock, limits = {} }: MemoryStoreOptions) {
    this.kind = database.kind;
    this.#database = database;
    this.#clock = clock;
    this.#limits = { ...STORE_LIMITS, ...limits };
    this.#nowMs =
      database.kind === 'sqlite' ? advancingTime(clock, database.tables.latestMs) : this.#shared();
    if (database.kind === 'sqlite') database.tables.replicas.clear();
  }

  async nowMs(): Promise<number> {
    return this.#run(({ nowMs }) => nowMs);
  }

  async heartbeat(replica: string, withinMs: number): Promise<Heartbeat> {
    return this.#run(({ nowMs, database }) => {
      const { tables } = database;
      const foundMs = tables.replicas.get(replica);
      const rows = database.rowsWhere((row) => row.replica === replica && row.state === 'attached');
      const held = { count: rows.length, epochs: rows.reduce((sum, { epoch }) => sum + epoch, 0) };
      tables.replicas.set(replica, nowMs);
      const alive = [...tables.replicas].filter(([, seenMs]) => seenMs >= nowMs - withinMs);
      return { replicas: alive.map(([name]) => name).toSorted(), foundMs, saidMs: nowMs, held };
    });
  }

  async noteSilence({ self, silentMs, returnMs, owedMs, anew }: Silence): Promise<UnseenCount> {
    return this.#run((session) => {
      const { database, nowMs } = session;
      const { replicas } = database.tables;
      const unseen = database.rowsWhere(({ state, key }) => state === 'unseen' && this.#isFree(key));
      const dueAtMs = nowMs + returnMs(unseen.length);
      if (anew)
        for (const row of unseen) database.change(row, { dueAtMs: Math.max(row.dueAtMs ?? 0, dueAtMs) });
      const over = database.rowsWhere(
        ({ state, dueAtMs: endMs = 0, key }) =>
          state === 'unseen' && endMs <= nowMs - owedMs && this.#isFree(key),
      );
      for (const row of over) database.change(row, { state: 'lost', dueAtMs: nowMs });
      const isSilent = (replica: string): boolean =>
        replica !== self && (replicas.get(replica) ?? Number.NEGATIVE_INFINITY) < nowMs - silentMs;
      const silent = database.rowsWhere(
        (row) => row.replica !== undefined && isSilent(row.replica) && this.#isFree(row.key),
      );
      const missed = silent.filter((row) => {
        const ofReplica = silent.filter(({ replica }) => replica === row.replica).length;
        const goneAtMs = replicas.get(row.replica ?? '') ?? nowMs;
        return endStream(session, row, {
          goneAtMs,
          becomes: { state: 'unseen', unseen: true, dueAtMs: nowMs + returnMs(ofReplica) },
        });
      });
      for (const { replica = '' } of silent) replicas.delete(replica);
      const expected = database.rowsWhere(({ state }) => state === 'unseen').length;
      return { unseen: missed.length, lost: over.length, expected };
    });
  }

  async unseenIncarnations(): Promise<readonly string[]> {
    return this.#run(({ database }) =>
      database.rowsWhere(({ state }) => state === 'unseen').map(({ incarnation }) => incarnation),
    );
  }

  async attach(...[introduction, replica, entry = ANY_ENTRY]: Parameters<Store['attach']>) {
    return this.#runAlone(introduction.key, (session) => attach(session, introduction, { replica, entry }));
  }

  async reattach(...[introduction, replica, entry = ANY_ENTRY]: Parameters<Store['reattach']>) {
    return this.#runAlone(introduction.key, (session) => reattach(session, introduction, { replica, entry }));
  }

  async leave(...[introduction, options]: Parameters<Store['leave']>) {
    return this.#runAlone(introduction.key, (session) => leave(session, introduction, options));
  }

  async detach({ key, epoch }: At, replica: string, returnMs?: number): Promise<void> {
    return this.#runOnRow(key, (session) => {
      const row = session.database.find(key);
      if (row?.epoch === epoch && row.replica === replica)
        endStream(session, row, {
          goneAtMs: session.nowMs,
          becomes:
            returnMs === undefined
              ? { state: 'lost', dueAtMs: session.nowMs }
              : { state: 'unseen', unseen: true, dueAtMs: session.nowMs + returnMs },
        });
    });
  }

  async notePhase({ key, epoch }: At, said: { readonly phase: string; readonly serving: boolean }) {
    return this.#runOnRow(key, ({ database }) => {
      database.change({ key, epoch }, said);
    });
  }

  async beginSweep(key: DataplaneKey): Promise<boolean> {
    return this.#runAlone(key, ({ database, nowMs }) => {
      if (database.find(key) !== undefined) return false;
      const who = {
        key,
        epoch: database.nextEpoch().epoch,
        incarnation: '',
        owner: 'external',
        deletable: true,
      } as const;
      const nothing = { address: undefined, resource: undefined, replica: undefined, phase: '' };
      const times = { sinceMs: nowMs, lostAtMs: nowMs, dueAtMs: nowMs };
      database.put({ ...who, ...nothing, ...times, ...UNTRIED, state: 'swept' });
      return true;
    });
  }

  async attempt(
    which: Which,
    act: (record: DataplaneRecord, fence: Fence) => Promise<AttemptResult>,
  ): Promise<AttemptedDeletion | undefined> {
    this.#assertOpen();
    const assertLeased = lease(this.#clock, this.#limits.leaseMs);
    for (const record of this.#wanted(which)) {
      const release = this.#database.locks.tryTake(describeKey(record.key));
      if (release === undefined) continue;
      const write = (session: MemorySession, result: AttemptResult): void => {
        settleAttempt(session, record, result);
      };
      const result = await this.#hold({ record, release, assertLeased, write }, act);
      return { record, result };
    }
    return undefined;
  }

  async whileCurrent<T>(
    { key, epoch }: At,
    act: (record: DataplaneRecord, fence: Fence) => Promise<T>,
  ): Promise<T | undefined> {
    this.#assertOpen();
    const assertLeased = lease(this.#clock, this.#limits.leaseMs);
    const release = await this.#database.locks.take(describeKey(key));
    const record = this.#database.find(key);
    if (this.#closed || record?.epoch !== epoch) {
      release();
      this.#assertOpen();
      return undefined;
    }
    return this.#hold({ record, release, assertLeased, write: () => {} }, act);
  }

  async find(key: DataplaneKey) {
    return this.#run(({ database }) => database.find(key));
  }

  async records(): Promise<readonly RecordSummary[]> {
    return this.#run(({ database }) => database.rowsWhere(() => true).map(summaryOf));
  }

  async counts(): Promise<readonly RecordCount[]> {
    return this.#run(({ database }) => countRecords(database.rowsWhere(() => true)));
  }

  async departures(filter: Parameters<Store['departures']>[0]) {
    const { key, incarnation, causes, sinceMs = Number.NEGATIVE_INFINITY, limit } = filter;
    const name = key === undefined ? undefined : describeKey(key);
    return this.#run(({ database: { tables } }) =>
      tables.departures
        .filter(
          (each) =>
            (name === undefined || describeKey(each.key) === name) &&
            (incarnation === undefined || each.incarnation === incarnation) &&
            (causes === undefined || causes.includes(each.cause)) &&
            each.atMs >= sinceMs,
        )
        .toSorted((a, b) => b.atMs - a.atMs || b.epoch - a.epoch)
        .slice(0, limit)
        .map((each) => ({ ...each, undoable: tables.bodies.has(each.epoch) })),
    );
  }

  async lastDeletedBody(key: DataplaneKey) {
    const name = describeKey(key);
    return this.#run(
      ({ database: { tables } }) =>
        [...tables.bodies.values()]
          .filter((each) => describeKey(each.key) === name)
          .toSorted((a, b) => b.atMs - a.atMs || b.epoch - a.epoch)[0],
    );
  }

  async deletedBodies(sinceMs: number, causes?: readonly Cause[]) {
    return this.#run(({ database: { tables } }) => bodiesOf(tables, sinceMs, causes));
  }

  async releaseBrake(mesh: string, untilMs: number): Promise<void> {
    return this.#run(({ database }) => {
      database.tables.releases.set(mesh, Math.ceil(untilMs));
    });
  }

  async brakeReleases() {
    return this.#run(({ database, nowMs }) =>
      [...database.tables.releases]
        .filter(([, untilMs]) => untilMs > nowMs)
        .map(([mesh, untilMs]) => ({ mesh, untilMs }))
        .toSorted((a, b) => (a.mesh < b.mesh ? -1 : 1)),
    );
  }

  async prune(beforeMs: number): Promise<void> {
    return this.#run(({ database: { tables }, nowMs }) => {
      pruneWitnesses(tables, nowMs - WITNESSES_KEPT_MS);
      const kept = tables.departures.filter(({ atMs }) => atMs >= beforeMs);
      tables.departures.splice(0, tables.departures.length, ...kept);
      for (const [epoch, { atMs }] of tables.bodies) if (atMs < beforeMs) tables.bodies.delete(epoch);
      for (const [mesh, untilMs] of tables.releases) if (untilMs < beforeMs) tables.releases.delete(mesh);
      const holders = new Set([...tables.rows.values()].map(({ replica }) => replica));
      for (const [replica, seenMs] of tables.replicas)
        if (seenMs < beforeMs && !holders.has(replica)) tables.replicas.delete(replica);
      boundTables(tables);
    });
  }

  async bindZone(zone: ZoneIdentity): Promise<ZoneIdentity> {
    return this.#run(({ database: { tables } }) => {
      const bound = tables.zone ?? zone;
      tables.zone = mayBeSameZone(bound, zone) ? joined(bound, zone) : bound;
      return tables.zone;
    });
  }

  async instances(): Promise<readonly InstanceRecord[]> {
    return this.#run(({ database: { tables } }) =>
      [...tables.instances.values()]
        .map(({ id, url, standing }) => ({ id, url, standing }))
        .toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    );
  }

  async noteInstances(instances: readonly InstanceRecord[], beforeMs: number): Promise<void> {
    return this.#run(({ database: { tables }, nowMs }) => {
      for (const each of instances) tables.instances.set(each.id, { ...each, seenAtMs: nowMs });
      for (const [id, { seenAtMs }] of tables.instances) if (seenAtMs < beforeMs) tables.instances.delete(id);
    });
  }

  async reserveSidelinings(choose: Parameters<Store['reserveSidelinings']>[0]) {
    return this.#run(({ database: { tables }, nowMs }) => {
      const chosen = choose([...tables.sidelinings.values()], nowMs);
      for (const each of chosen) tables.sidelinings.set(describeKey(each.key), each);
      return chosen;
    });
  }

  async whileAlone<T>(
    key: DataplaneKey,
    act: (alone: Alone) => Promise<{ readonly value: T; readonly sidelining?: SideliningRecord }>,
  ): Promise<T> {
    this.#assertOpen();
    const name = describeKey(key);
    const assertLeased = lease(this.#clock, this.#limits.leaseMs);
    const release = await this.#database.locks.take(name);
    const keep = async (kept: SideliningRecord): Promise<void> =>
      this.#run(({ database: { tables } }) => void tables.sidelinings.set(name, kept));
    const write = ({ database }: MemorySession, { sidelining }: { sidelining?: SideliningRecord }): void => {
      if (sidelining !== undefined) database.tables.sidelinings.set(name, sidelining);
    };
    const record = this.#database.find(key);
    const { value } = await this.#hold({ record, release, assertLeased, write }, (found, fence) =>
      act({ record: found, sidelining: this.#database.tables.sidelinings.get(name), fence, keep }),
    );
    return value;
  }

  async sidelining(key: DataplaneKey) {
    return this.#run(({ database: { tables } }) => {
      const known = tables.sidelinings.get(describeKey(key));
      return known?.stage === 'released' ? undefined : known;
    });
  }

  async sidelinings() {
    return this.#run(({ database: { tables } }) => activeSidelinings(tables));
  }

  async dueSidelinings(limit: number) {
    return this.#run(({ database, nowMs }) =>
      activeSidelinings(database.tables)
        .filter(({ key, dueAtMs, stage }) => {
          const row = database.find(key);
          const isBack = row?.state === 'attached' && row.serving === true;
          return dueAtMs <= nowMs || (isBack && stage === 'out');
        })
        .toSorted((a, b) => a.dueAtMs - b.dueAtMs)
        .slice(0, limit),
    );
  }

  async noteAcquaintances(reached: readonly Acquaintance[]) {
    return this.#run(({ database: { tables } }) => {
      for (const each of reached)
        tables.acquaintances.set(JSON.stringify([each.place, each.subject, each.witness]), each);
    });
  }

  async acquaintances(places: readonly string[], sinceMs: number) {
    const asked = new Set(places);
    return this.#run(({ database: { tables } }) =>
      [...tables.acquaintances.values()].filter(
        ({ place, reachedAtMs }) => asked.has(place) && reachedAtMs >= sinceMs,
      ),
    );
  }

  async streamCounts(sinceMs: number) {
    const lost = await this.lostSince(sinceMs);
    return this.#run(({ database }) => ({
      attached: database.rowsWhere(({ state }) => state === 'attached').length,
      lostAtMs: lost.map(({ lostAtMs = 0 }) => lostAtMs),
    }));
  }

  async lostSince(sinceMs: number) {
    return this.#run(({ database }) =>
      database.rowsWhere(({ state, lostAtMs = 0 }) => state === 'lost' && lostAtMs >= sinceMs),
    );
  }

  async hasten(): Promise<void> {
    return this.#run(({ database, nowMs }) => {
      const waiting = database.rowsWhere(
        ({ key, dueAtMs, state }) => state !== 'unseen' && (dueAtMs ?? 0) > nowMs && this.#isFree(key),
      );
      for (const row of waiting) database.change(row, { dueAtMs: nowMs });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const release of this.#held) release();
    return Promise.resolve();
  }

  #session(): MemorySession {
    this.#assertOpen();
    const nowMs = this.#nowMs();
    this.#database.tables.latestMs = Math.max(this.#database.tables.latestMs, nowMs);
    return { database: this.#database, nowMs };
  }

  /** One process has a SQLite file; the replicas of a PostgreSQL all read its server's clock. */
  #shared(): () => number {
    const database = this.#database;
    const time = sharedTime(this.#clock);
    return () => time(Math.max(database.clock.wallMs(), ...database.tables.replicas.values()));
  }

  #run<T>(work: (session: MemorySession) => T): T {
    return work(this.#session());
  }

  async #runAlone<T>(key: DataplaneKey, work: (session: MemorySession) => T): Promise<T> {
    this.#assertOpen();
    const release = await this.#database.locks.take(describeKey(key));
    try {
      return work(this.#session());
    } finally {
      release();
    }
  }

  /** On SQLite nothing is open in the database while a name is held; PostgreSQL has locked the row. */
  async #runOnRow<T>(key: DataplaneKey, work: (session: MemorySession) => T): Promise<T> {
    return this.kind === 'sqlite' ? this.#run(work) : this.#runAlone(key, work);
  }

  #isFree(key: DataplaneKey): boolean {
    if (this.kind === 'sqlite') return true;
    const release = this.#database.locks.tryTake(describeKey(key));
    release?.();
    return release !== undefined;
  }

  #assertOpen(): void {
    if (this.#closed) throw new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store: it is closed');
  }

  #wanted(which: Which): readonly DataplaneRecord[] {
    const { nowMs, database } = this.#session();
    if (typeof which === 'object' && 'key' in which) {
      const row = database.find(which.key);
      const isWaiting = row?.state !== 'attached' && row?.state !== 'unseen';
      return row?.epoch === which.epoch && isWaiting ? [row] : [];
    }
    const mine: DueShare = which === 'next due' ? { share: 0, of: 1 } : which;
    return database
      .rowsWhere(({ dueAtMs = Number.POSITIVE_INFINITY, epoch, state }) =>
        state === 'unseen' ? false : dueAtMs <= (epoch % mine.of === mine.share ? nowMs : nowMs - OTHERS_MS),
      )
      .toSorted((a, b) => (a.dueAtMs ?? 0) - (b.dueAtMs ?? 0));
  }

  /** Releases the name when `act` has ended, or when the database takes it away from a silent process. */
  async #hold<T, Held extends DataplaneRecord | undefined>(
    hold: {
      readonly record: Held;
      readonly release: () => void;
      readonly assertLeased: () => void;
      readonly write: (session: MemorySession, value: T) => void;
    },
    act: (record: Held, fence: Fence) => Promise<T>,
  ): Promise<T> {
    const { record, assertLeased, write } = hold;
    const database = this.#database;
    const releases = [hold.release];
    const held = { lost: false };
    const lose = (): void => {
      held.lost = true;
      for (const release of releases) release();
    };
    for (const all of [this.#held, database.sessions]) all.add(lose);
    const disarm =
      this.kind === 'postgres' ? database.clock.after(this.#limits.sessionMs, lose) : (): void => {};
    const assertHeld = (): void => {
      assertLeased();
      if (held.lost) throw new OperationalError('FENCE_LOST', 'Cannot delete: the connection was lost');
    };
    try {
      const value = await act(record, {
        nowMs: this.#session().nowMs,
        assertHeld,
        keepBody: async (resource) =>
          this.#run(({ nowMs }) => {
            if (record === undefined) return;
            const { key, epoch } = record;
            database.tables.bodies.set(epoch, { key, epoch, resource, atMs: nowMs });
          }),
        alone: async (what) => {
          const release = await database.locks.take(`alone ${what}`);
          if (held.lost) release();
          else releases.push(release);
        },
      });
      if (held.lost)
        throw new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store: the connection was lost');
      write(this.#session(), value);
      return value;
    } finally {
      disarm();
      for (const all of [this.#held, database.sessions]) all.delete(lose);
      lose();
    }
  }
}

function pruneWitnesses({ sidelinings, acquaintances }: MemoryTables, beforeMs: number): void {
  for (const [name, { stage, beganAtMs }] of sidelinings)
    if (stage === 'released' && beganAtMs < beforeMs) sidelinings.delete(name);
  for (const [name, { reachedAtMs }] of acquaintances) if (reachedAtMs < beforeMs) acquaintances.delete(name);
}

/**
 * Drops a record that the companion would not delete; a leaving record keeps its state.
 *
 * @returns whether the record came into the new state
 */
function endStream(
  { database }: MemorySession,
  row: DataplaneRecord,
  {
    goneAtMs,
    becomes,
  }: {
    readonly goneAtMs: number;
    readonly becomes: Pick<DataplaneRecord, 'state' | 'unseen' | 'dueAtMs'>;
  },
): boolean {
  if (row.state === 'attached' && !row.deletable) {
    database.remove(row);
    return false;
  }
  const lostAtMs = Math.max(row.sinceMs, goneAtMs);
  const { unseen } = becomes;
  const silent = { lostAtMs, replica: undefined, ...(unseen === undefined ? {} : { unseen }) };
  const wasAttached = row.state === 'attached';
  const begins = wasAttached ? { ...UNTRIED, ...becomes, sinceMs: lostAtMs } : {};
  database.change(row, { ...silent, ...begins });
  return wasAttached;
}

function settleAttempt(
  { database, nowMs }: MemorySession,
  row: DataplaneRecord,
  result: AttemptResult,
): void {
  const { guard, reason } = result;
  const attempts = row.attempts + 1;
  if (result.kind === 'later') {
    database.change(row, { attempts, dueAtMs: nowMs + Math.ceil(result.afterMs), guard, reason });
    return;
  }
  const { outcome } = result;
  const { departures, bodies } = database.tables;
  departures.push({ ...departureBase(row), outcome, guard, reason, attempts, atMs: nowMs });
  database.remove(row);
  const resource = result.body ?? (outcome === 'already gone' ? row.resource : undefined);
  const { key, epoch } = row;
  if (resource !== undefined && !bodies.has(epoch)) bodies.set(epoch, { key, epoch, resource, atMs: nowMs });
}
