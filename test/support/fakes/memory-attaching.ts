import { CAUSES, type DataplaneRecord, type DepartureRecord } from '../../../control-plane/records.pure.ts';
import { judgeEntry } from '../../../control-plane/evidence/entry.pure.ts';
import type {
  Introduction,
  AttachVerdict,
  EntryView,
  Leave,
  LeaveOptions,
} from '../../../control-plane/ports.ts';
import { describeKey } from '../../../kuma/dataplane.ts';
import type { MemoryDatabase } from './memory-database.ts';

/** Without any attempt to delete it. */
export const UNTRIED = { attempts: 0, guard: undefined, reason: undefined } as const;

/** One transaction of a fake store: the caller has the name to itself. */
export interface MemorySession {
  readonly database: MemoryDatabase;
  readonly nowMs: number;
}

export function attach(
  session: MemorySession,
  introduction: Introduction,
  { replica, entry }: { readonly replica: string; readonly entry: EntryView },
): AttachVerdict {
  const row = session.database.find(introduction.key);
  if (row !== undefined && isSame(row, introduction))
    return attachAgain(session, row, { introduction, replica });
  const departure = departureOf(session, introduction);
  const verdict = judgeEntry({
    holder: row,
    nowMs: session.nowMs,
    refusedEpoch: entry.refusedEpoch,
    newcomer: introduction,
    departure,
    graceMs: entry.graceMs,
  });
  if (verdict === 'superseded') return { kind: 'superseded' };
  if (verdict === 'held' && row !== undefined) return { kind: 'held', holder: row };
  if (verdict === 'leaving' && departure !== undefined)
    return { kind: 'attached', epoch: departure.epoch, leaving: true };
  const attached = { state: 'attached', lostAtMs: undefined, replica, dueAtMs: undefined } as const;
  const { epoch, raised } = replace(session, row, { introduction, begins: attached });
  return { kind: 'attached', epoch, leaving: false, ...(raised ? { raised } : {}) };
}

function attachAgain(
  { database, nowMs }: MemorySession,
  row: DataplaneRecord,
  { introduction, replica }: { readonly introduction: Introduction; readonly replica: string },
): AttachVerdict {
  const leaving = row.state === 'leaving';
  const sinceMs = row.state === 'attached' ? row.sinceMs : nowMs;
  const fresh = { ...UNTRIED, state: 'attached', sinceMs, dueAtMs: undefined } as const;
  const serves = introduction.phase === 'running' && row.serving === true ? { serving: true as const } : {};
  const common = {
    ...brought(introduction, row),
    ...unsaid(introduction),
    ...serves,
    replica,
    lostAtMs: undefined,
  };
  database.change(row, leaving ? common : { ...common, ...fresh });
  return { kind: 'attached', epoch: row.epoch, leaving, ...serves };
}

/** The fields that a new stream resets. A running agent has yet to say whether its Envoy serves. */
function unsaid({ phase }: Introduction): Partial<DataplaneRecord> {
  return { unseen: undefined, serving: phase === 'running' ? undefined : false };
}

export function reattach(
  session: MemorySession,
  introduction: Introduction,
  how: { readonly replica: string; readonly entry: EntryView },
): AttachVerdict | { readonly kind: 'elsewhere' } {
  const row = session.database.find(introduction.key);
  const elsewhere = row?.replica !== undefined && row.replica !== how.replica;
  if (elsewhere && isSame(row, introduction)) return { kind: 'elsewhere' };
  return attach(session, introduction, how);
}

export function leave(
  session: MemorySession,
  introduction: Introduction,
  { headStartMs, again = false, agoMs = 0 }: LeaveOptions,
): Leave {
  const { nowMs, database } = session;
  const row = database.find(introduction.key);
  if (row !== undefined && (introduction.incarnation === '' || isSame(row, introduction)))
    return leaveNow(session, row, { introduction, headStartMs, agoMs });
  const departure = departureOf(session, introduction);
  if (departure !== undefined && !again && hasLeft(departure)) return { kind: 'departed', departure };
  const objection = objectionOf(row, departure);
  if (objection !== undefined) return { kind: objection };
  const dueAtMs = nowMs + headStartMs;
  const leaving = { state: 'leaving', lostAtMs: nowMs, replica: undefined, dueAtMs } as const;
  return { kind: 'leaving', epoch: replace(session, row, { introduction, begins: leaving, agoMs }).epoch };
}

function leaveNow(
  { database, nowMs }: MemorySession,
  row: DataplaneRecord,
  {
    introduction,
    headStartMs,
    agoMs,
  }: { readonly introduction: Introduction } & Required<Omit<LeaveOptions, 'again'>>,
): Leave {
  const isNameless = introduction.incarnation === '';
  if (isNameless && row.state === 'attached') return { kind: 'superseded' };
  if (row.state !== 'leaving') {
    const times = { sinceMs: nowMs - agoMs, dueAtMs: nowMs + headStartMs };
    const change = { ...UNTRIED, ...times, state: 'leaving' } as const;
    database.change(row, isNameless ? change : { ...brought(introduction, row), ...change });
  }
  return { kind: 'leaving', epoch: row.epoch };
}

function hasLeft({ cause, outcome }: DepartureRecord): boolean {
  return cause === 'requested' && outcome !== 'superseded';
}

function objectionOf(
  row: DataplaneRecord | undefined,
  departure: DepartureRecord | undefined,
): 'superseded' | 'contested' | undefined {
  if (row === undefined || row.incarnation === '') return undefined;
  if (departure !== undefined || row.lostAtMs === undefined) return 'superseded';
  return row.state === 'leaving' ? undefined : 'contested';
}

/** @returns of which epoch the departure is, how it came, and how often it was tried */
export function departureBase(
  row: DataplaneRecord,
): Pick<DepartureRecord, 'key' | 'epoch' | 'incarnation' | 'cause' | 'attempts'> {
  const { key, epoch, incarnation, state, attempts } = row;
  return {
    key,
    epoch,
    incarnation,
    cause: state === 'attached' ? 'fallback' : CAUSES[state],
    attempts,
  };
}

function replace(
  { database, nowMs }: MemorySession,
  old: DataplaneRecord | undefined,
  next: {
    readonly introduction: Introduction;
    readonly begins: Pick<DataplaneRecord, 'state' | 'lostAtMs' | 'replica' | 'dueAtMs'>;
    readonly agoMs?: number;
  },
): { readonly epoch: number; readonly raised: boolean } {
  if (old !== undefined) {
    const superseded = { outcome: 'superseded', guard: 'newer-epoch', atMs: nowMs } as const;
    const reason = 'a newer incarnation has the name';
    database.tables.departures.push({ ...departureBase(old), ...superseded, reason });
  }
  const given = database.nextEpoch(next.introduction.shownEpoch);
  const { epoch } = given;
  const { key, incarnation } = next.introduction;
  const fresh = { key, epoch, incarnation, sinceMs: nowMs - (next.agoMs ?? 0), ...UNTRIED };
  database.put({
    ...brought(next.introduction, undefined),
    ...unsaid(next.introduction),
    ...next.begins,
    ...fresh,
  });
  return given;
}

function departureOf(
  { database }: MemorySession,
  { key, incarnation }: Introduction,
): DepartureRecord | undefined {
  if (incarnation === '') return undefined;
  const name = describeKey(key);
  return database.tables.departures
    .filter((each) => each.incarnation === incarnation && describeKey(each.key) === name)
    .toSorted((a, b) => b.epoch - a.epoch)[0];
}

function brought(
  { owner, deletable, address, peer, resource, phase }: Introduction,
  before: DataplaneRecord | undefined,
): Pick<DataplaneRecord, 'owner' | 'deletable' | 'address' | 'peer' | 'resource' | 'phase'> {
  return {
    owner,
    deletable,
    address: address ?? before?.address,
    peer: peer ?? before?.peer,
    resource: resource ?? before?.resource,
    phase,
  };
}

function isSame({ incarnation }: DataplaneRecord, introduction: Introduction): boolean {
  return incarnation !== '' && incarnation === introduction.incarnation;
}
