import { CAUSES } from '../records.pure.ts';
import type { Arrival, Attachment, Leave } from '../ports.ts';
import { departureOf, keyColumns } from './rows.ts';
import type { DataplaneRow, DepartureRow } from './schema.ts';
import { currentRow, isNamed, nextEpoch, type Session } from './session.ts';

type NewRow = Pick<DataplaneRow, 'state' | 'lost_at' | 'replica' | 'due_at'>;

/** The caller has the name to itself. An incarnation that was never seen before is newer than all that were. */
export async function attach(session: Session, arrival: Arrival, replica: string): Promise<Attachment> {
  const row = await currentRow(session, arrival.key);
  if (row !== undefined && isSame(row, arrival)) return attachAgain(session, row, { arrival, replica });
  const departure = await departureOfIncarnation(session, arrival);
  if (departure !== undefined) {
    const replaced = row !== undefined && row.incarnation !== '';
    if (departure.outcome === 'superseded' || replaced) return { kind: 'superseded' };
    // It left, is still draining, and its stream was interrupted: there is nothing left to do for it. One that was only
    // cut off for longer than the grace lives, and begins anew.
    if (departure.cause === 'announced') return { kind: 'attached', epoch: departure.epoch, leaving: true };
  }
  const attached = { state: 'attached', lost_at: null, replica, due_at: null } as const;
  return { kind: 'attached', epoch: await replace(session, row, { arrival, attached }), leaving: false };
}

/** As {@link attach}, unless another replica has its stream by now. */
export async function reattach(
  session: Session,
  arrival: Arrival,
  replica: string,
): Promise<Attachment | { readonly kind: 'elsewhere' }> {
  const row = await currentRow(session, arrival.key);
  const elsewhere = row !== undefined && row.replica !== null && row.replica !== replica;
  if (elsewhere && isSame(row, arrival)) return { kind: 'elsewhere' };
  return attach(session, arrival, replica);
}

/** The caller has the name to itself. Who leaves never takes the name from one that is there. */
export async function leave(
  session: Session,
  arrival: Arrival,
  { headStartMs, again = false }: { readonly headStartMs: number; readonly again?: boolean },
): Promise<Leave> {
  const { nowMs } = session;
  const row = await currentRow(session, arrival.key);
  // An operator has no incarnation: it is whichever is there that leaves, unless it lives.
  const isNameless = arrival.incarnation === '';
  if (row !== undefined && (isNameless || isSame(row, arrival)))
    return leaveNow(session, row, { arrival, headStartMs });
  const departure = await departureOfIncarnation(session, arrival);
  const isOver = departure?.outcome === 'superseded';
  if (departure?.cause === 'announced' && !isOver && !again)
    return { kind: 'departed', departure: departureOf(departure) };
  if (isOver || hasTheName(row, departure)) return { kind: 'superseded' };
  const leaving = { state: 'leaving', lost_at: nowMs, replica: null, due_at: nowMs + headStartMs } as const;
  return { kind: 'leaving', epoch: await replace(session, row, { arrival, attached: leaving }) };
}

/** Against one that leaves: whoever came after it, and of whom that is not known, whoever is there. */
function hasTheName(row: DataplaneRow | undefined, departure: DepartureRow | undefined): boolean {
  if (row === undefined || row.incarnation === '') return false;
  return departure !== undefined || row.lost_at === null;
}

async function attachAgain(
  session: Session,
  row: DataplaneRow,
  { arrival, replica }: { readonly arrival: Arrival; readonly replica: string },
): Promise<Attachment> {
  const leaving = row.state === 'leaving';
  const common = { ...brought(arrival, row), replica, lost_at: null };
  const fresh = {
    state: 'attached',
    since_at: row.state === 'attached' ? row.since_at : session.nowMs,
    due_at: null,
    attempts: 0,
    guard: null,
    reason: null,
  } as const;
  await session.db
    .updateTable('dataplanes')
    .set(leaving ? common : { ...common, ...fresh })
    .where('epoch', '=', row.epoch)
    .execute();
  return { kind: 'attached', epoch: row.epoch, leaving };
}

async function leaveNow(
  session: Session,
  row: DataplaneRow,
  { arrival, headStartMs }: { readonly arrival: Arrival; readonly headStartMs: number },
): Promise<Leave> {
  const { db, nowMs } = session;
  if (arrival.incarnation === '' && row.state === 'attached') return { kind: 'superseded' };
  if (row.state !== 'leaving') {
    const leaving = {
      ...(arrival.incarnation === '' ? {} : brought(arrival, row)),
      state: 'leaving',
      since_at: nowMs,
      due_at: nowMs + headStartMs,
      attempts: 0,
      guard: null,
      reason: null,
    } as const;
    await db.updateTable('dataplanes').set(leaving).where('epoch', '=', row.epoch).execute();
  }
  return { kind: 'leaving', epoch: row.epoch };
}

/** A new incarnation takes the name: the old one's row goes, and it can be told what became of it. */
async function replace(
  session: Session,
  old: DataplaneRow | undefined,
  { arrival, attached }: { readonly arrival: Arrival; readonly attached: NewRow },
): Promise<number> {
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
  const epoch = await nextEpoch(session);
  const { key, incarnation } = arrival;
  const rest = { since_at: nowMs, attempts: 0, guard: null, reason: null };
  const row = {
    ...keyColumns(key),
    epoch,
    incarnation,
    ...brought(arrival, undefined),
    ...attached,
    ...rest,
  };
  await db.insertInto('dataplanes').values(row).execute();
  return epoch;
}

/** What a departure takes over from the row that it ends. */
export function departureBase(
  row: DataplaneRow,
): Pick<DepartureRow, 'proxy_type' | 'mesh' | 'name' | 'epoch' | 'incarnation' | 'cause' | 'attempts'> {
  const { proxy_type, mesh, name, epoch, incarnation, state, attempts } = row;
  const cause = state === 'attached' ? 'fallback' : CAUSES[state];
  return { proxy_type, mesh, name, epoch, incarnation, cause, attempts };
}

function departureOfIncarnation(
  { db }: Session,
  { key, incarnation }: Arrival,
): Promise<DepartureRow | undefined> {
  if (incarnation === '') return Promise.resolve(undefined);
  return db
    .selectFrom('departures')
    .selectAll()
    .where(isNamed(key))
    .where('incarnation', '=', incarnation)
    .orderBy('epoch', 'desc')
    .executeTakeFirst();
}

/** What an agent says of itself; where it says nothing, what it said before. */
function brought(
  { owner, deletable, address, resource, phase }: Arrival,
  before: DataplaneRow | undefined,
): Pick<DataplaneRow, 'owner' | 'deletable' | 'address' | 'resource' | 'phase'> {
  return {
    owner,
    deletable: deletable ? 1 : 0,
    address: address ?? before?.address ?? null,
    resource: resource ?? before?.resource ?? null,
    phase,
  };
}

/** Nobody is the same as one that has no incarnation. */
function isSame({ incarnation }: DataplaneRow, arrival: Arrival): boolean {
  return incarnation !== '' && incarnation === arrival.incarnation;
}
