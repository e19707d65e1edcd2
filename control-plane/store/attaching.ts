import { judgeEntry } from '../evidence/entry.pure.ts';
import { CAUSES, type DepartureRecord } from '../records.pure.ts';
import type { Introduction, AttachVerdict, EntryView, Leave, LeaveOptions } from '../ports.ts';
import { prepared } from './prepared.ts';
import { departureOf, KEY_COLUMNS, keyColumns, recordOf, storedCause, type KeyValues } from './rows.ts';
import type { DataplaneRow, DepartureRow } from './schema.ts';
import { currentRow, isKeyed, nextEpoch, type Session } from './session.ts';

interface Leaver {
  readonly introduction: Introduction;
  readonly headStartMs: number;
  readonly agoMs: number;
}

interface Newcomer {
  readonly introduction: Introduction;
  readonly attached: NewRow;
  /** How long ago it came. */
  readonly agoMs?: number;
}

type NewRow = Pick<DataplaneRow, 'state' | 'lost_at' | 'replica' | 'due_at' | 'unseen'>;

/** The caller has locked the name. A new incarnation is newer than all earlier ones. */
export async function attach(
  session: Session,
  introduction: Introduction,
  { replica, entry }: { readonly replica: string; readonly entry: EntryView },
): Promise<AttachVerdict> {
  const row = await currentRow(session, introduction.key);
  if (row !== undefined && isSame(row, introduction))
    return attachAgain(session, row, { introduction, replica });
  const departure = await departureOfIncarnation(session, introduction);
  const holder = row === undefined ? undefined : recordOf(row);
  const verdict = judgeEntry({
    holder,
    nowMs: session.nowMs,
    refusedEpoch: entry.refusedEpoch,
    newcomer: introduction,
    departure,
    graceMs: entry.graceMs,
  });
  if (verdict === 'superseded') return { kind: 'superseded' };
  if (verdict === 'held' && holder !== undefined) return { kind: 'held', holder };
  // The agent is draining and its stream was interrupted: nothing is left to do.
  if (verdict === 'leaving' && departure !== undefined)
    return { kind: 'attached', epoch: departure.epoch, leaving: true };
  const attached = { state: 'attached', lost_at: null, replica, due_at: null, unseen: 0 } as const;
  const { epoch, raised } = await replace(session, row, { introduction, attached });
  return { kind: 'attached', epoch, leaving: false, ...(raised ? { raised } : {}) };
}

/** As {@link attach}, unless another replica has its stream by now. */
export async function reattach(
  session: Session,
  introduction: Introduction,
  how: { readonly replica: string; readonly entry: EntryView },
): Promise<AttachVerdict | { readonly kind: 'elsewhere' }> {
  const row = await currentRow(session, introduction.key);
  const elsewhere = row !== undefined && row.replica !== null && row.replica !== how.replica;
  if (elsewhere && isSame(row, introduction)) return { kind: 'elsewhere' };
  return attach(session, introduction, how);
}

/** The caller has locked the name. A leaving agent never takes the name from another one. */
export async function leave(
  session: Session,
  introduction: Introduction,
  { headStartMs, again = false, agoMs = 0 }: LeaveOptions,
): Promise<Leave> {
  const { nowMs } = session;
  const row = await currentRow(session, introduction.key);
  // An operator names no incarnation: the present one leaves, unless it lives.
  const isNameless = introduction.incarnation === '';
  if (row !== undefined && (isNameless || isSame(row, introduction)))
    return leaveNow(session, row, { introduction, headStartMs, agoMs });
  const departure = await departureOfIncarnation(session, introduction);
  if (departure !== undefined && !again && hasLeft(departure)) return { kind: 'departed', departure };
  if (hasTheName(row, departure)) return { kind: 'superseded' };
  if (row !== undefined && mayReturn(row)) return { kind: 'contested' };
  const leaving = {
    state: 'leaving',
    lost_at: nowMs,
    replica: null,
    due_at: nowMs + headStartMs,
    unseen: 0,
  } as const;
  const { epoch } = await replace(session, row, { introduction, attached: leaving, agoMs });
  return { kind: 'leaving', epoch };
}

function hasLeft({ cause, outcome }: DepartureRecord): boolean {
  return cause === 'requested' && outcome !== 'superseded';
}

/**
 * The row wins over the leaver if it is newer, or if we cannot tell which is newer. If the incarnation that took the
 * name has ended, the leaver still owns its object and leaves like any other.
 */
function hasTheName(row: DataplaneRow | undefined, departure: DepartureRecord | undefined): boolean {
  if (row === undefined || row.incarnation === '') return false;
  return departure !== undefined || row.lost_at === null;
}

/** Whether it is lost, but has not asked to leave: only its own departure tells whether it lives. */
function mayReturn({ incarnation, state }: DataplaneRow): boolean {
  return incarnation !== '' && state !== 'leaving';
}

const BROUGHT = ['owner', 'deletable', 'address', 'peer', 'resource', 'phase'] as const;
const LEAVING = [...BROUGHT, 'replica', 'lost_at', 'unseen', 'serving'] as const;
const FRESH = ['state', 'since_at', 'due_at', 'attempts', 'guard', 'reason'] as const;
const ATTACHED = [...LEAVING, ...FRESH] as const;

function updateOf<Column extends keyof DataplaneRow>(columns: readonly Column[]) {
  return prepared(
    [...columns, 'epoch'],
    ({ db }, { epoch, ...values }: Pick<DataplaneRow, Column | 'epoch'>) =>
      db.updateTable('dataplanes').set(values).where('epoch', '=', epoch),
  );
}

const updateLeaving = updateOf(LEAVING);
const updateAttached = updateOf(ATTACHED);
const updateDue = updateOf([...BROUGHT, ...FRESH]);

const insertDataplane = prepared(
  [...ATTACHED, ...KEY_COLUMNS, 'epoch', 'incarnation'],
  ({ db }, row: DataplaneRow) => db.insertInto('dataplanes').values(row),
);

/** Not sorted: for that SQLite makes a temporary table at each execution, which takes longer than all the rest. */
const selectDepartures = prepared(
  [...KEY_COLUMNS, 'incarnation'],
  ({ db }, { incarnation, ...key }: KeyValues & Pick<DepartureRow, 'incarnation'>) =>
    db.selectFrom('departures').selectAll().where(isKeyed(key)).where('incarnation', '=', incarnation),
);

async function attachAgain(
  session: Session,
  row: DataplaneRow,
  { introduction, replica }: { readonly introduction: Introduction; readonly replica: string },
): Promise<AttachVerdict> {
  const leaving = row.state === 'leaving';
  const serving = introduction.phase === 'running' && row.serving === 1 ? 1 : servingOf(introduction);
  const common = { ...brought(introduction, row), replica, lost_at: null, unseen: 0, serving };
  const fresh = {
    state: 'attached',
    since_at: row.state === 'attached' ? row.since_at : session.nowMs,
    due_at: null,
    attempts: 0,
    guard: null,
    reason: null,
  } as const;
  const { epoch } = row;
  if (leaving) await updateLeaving(session, { ...common, epoch });
  else await updateAttached(session, { ...common, ...fresh, epoch });
  return { kind: 'attached', epoch: row.epoch, leaving, ...(serving === 1 ? { serving: true } : {}) };
}

async function leaveNow(
  session: Session,
  row: DataplaneRow,
  { introduction, headStartMs, agoMs }: Leaver,
): Promise<Leave> {
  const { nowMs } = session;
  const { epoch } = row;
  if (introduction.incarnation === '' && row.state === 'attached') return { kind: 'superseded' };
  if (row.state !== 'leaving') {
    await updateDue(session, {
      ...(introduction.incarnation === '' ? broughtOf(row) : brought(introduction, row)),
      state: 'leaving',
      since_at: nowMs - agoMs,
      due_at: nowMs + headStartMs,
      attempts: 0,
      guard: null,
      reason: null,
      epoch,
    });
  }
  return { kind: 'leaving', epoch };
}

/** A new incarnation takes the name: the old row becomes a departure, so that its agent can be told. */
async function replace(
  session: Session,
  old: DataplaneRow | undefined,
  { introduction, attached, agoMs = 0 }: Newcomer,
): Promise<{ readonly epoch: number; readonly raised: boolean }> {
  const { db, nowMs } = session;
  if (old !== undefined) {
    const departure = { ...departureBase(old), outcome: 'superseded', guard: 'newer-epoch' } as const;
    const reason = 'a newer incarnation has the name';
    await db
      .insertInto('departures')
      .values({ ...departure, reason, at: nowMs })
      .execute();
    await db.deleteFrom('dataplanes').where('epoch', '=', old.epoch).execute();
  }
  const next = await nextEpoch(session, introduction.shownEpoch);
  const { key, incarnation } = introduction;
  const rest = { since_at: nowMs - agoMs, attempts: 0, guard: null, reason: null };
  const row = {
    ...keyColumns(key),
    epoch: next.epoch,
    incarnation,
    serving: servingOf(introduction),
    ...brought(introduction, undefined),
    ...attached,
    ...rest,
  };
  await insertDataplane(session, row);
  return next;
}

/** The fields that a departure copies from the row that it ends. */
export function departureBase(
  row: DataplaneRow,
): Pick<DepartureRow, 'proxy_type' | 'mesh' | 'name' | 'epoch' | 'incarnation' | 'cause' | 'attempts'> {
  const { proxy_type, mesh, name, epoch, incarnation, state, attempts } = row;
  const cause = storedCause(state === 'attached' ? 'fallback' : CAUSES[state]);
  return { proxy_type, mesh, name, epoch, incarnation, cause, attempts };
}

/** The latest one: an incarnation that attached again after its departure may leave again. */
async function departureOfIncarnation(
  session: Session,
  { key, incarnation }: Introduction,
): Promise<DepartureRecord | undefined> {
  if (incarnation === '') return undefined;
  const { rows } = await selectDepartures(session, { ...keyColumns(key), incarnation });
  const [latest] = rows.toSorted((one, other) => other.epoch - one.epoch);
  return latest === undefined ? undefined : departureOf(latest);
}

/** The Envoy of a starting agent does not serve. A running agent has yet to say whether its Envoy does. */
function servingOf({ phase }: Introduction): 0 | null {
  return phase === 'running' ? null : 0;
}

/** The agent's fields; absent ones keep their stored value. */
function brought(
  { owner, deletable, address, peer, resource, phase }: Introduction,
  before: DataplaneRow | undefined,
): Pick<DataplaneRow, 'owner' | 'deletable' | 'address' | 'peer' | 'resource' | 'phase'> {
  return {
    owner,
    deletable: deletable ? 1 : 0,
    address: address ?? before?.address ?? null,
    peer: peer ?? before?.peer ?? null,
    resource: resource ?? before?.resource ?? null,
    phase,
  };
}

function broughtOf({
  owner,
  deletable,
  address,
  peer,
  resource,
  phase,
}: DataplaneRow): ReturnType<typeof brought> {
  return { owner, deletable, address, peer, resource, phase };
}

/** A row without an incarnation matches no agent. */
function isSame({ incarnation }: DataplaneRow, introduction: Introduction): boolean {
  return incarnation !== '' && incarnation === introduction.incarnation;
}
