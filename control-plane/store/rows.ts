import type { DataplaneKey, ProxyType } from '../../kuma/dataplane.ts';
import type {
  Cause,
  DataplaneRecord,
  DeletedBody,
  DepartureRecord,
  KnownDeparture,
  RecordSummary,
} from '../records.pure.ts';
import type { BodyRow, DataplaneRow, DepartureRow, StoredCause } from './schema.ts';

export const KEY_COLUMNS = ['proxy_type', 'mesh', 'name'] as const;

export type KeyValues = Readonly<Record<(typeof KEY_COLUMNS)[number], string>>;

/** The columns of a name, for a condition on all three. */
export function keyColumns({ proxyType, mesh, name }: DataplaneKey): KeyValues {
  return { proxy_type: proxyType, mesh, name };
}

/** All but `resource`. */
export const SUMMARY_COLUMNS = [
  'proxy_type',
  'mesh',
  'name',
  'epoch',
  'incarnation',
  'owner',
  'deletable',
  'address',
  'peer',
  'state',
  'since_at',
  'lost_at',
  'replica',
  'phase',
  'serving',
  'unseen',
  'due_at',
  'attempts',
  'guard',
  'reason',
] as const satisfies readonly (keyof DataplaneRow)[];

type SummaryRow = Pick<DataplaneRow, (typeof SUMMARY_COLUMNS)[number]>;

export function recordOf(row: DataplaneRow): DataplaneRecord {
  return { ...commonOf(row), resource: row.resource ?? undefined };
}

export function summaryOf(row: SummaryRow & { readonly head: string | null }): RecordSummary {
  return { ...commonOf(row), resourceHead: row.head ?? undefined };
}

function commonOf(row: SummaryRow): Omit<DataplaneRecord, 'resource'> {
  return {
    key: keyOf(row),
    epoch: row.epoch,
    incarnation: row.incarnation,
    owner: row.owner,
    deletable: row.deletable === 1,
    address: row.address ?? undefined,
    peer: row.peer ?? undefined,
    state: row.state,
    sinceMs: row.since_at,
    lostAtMs: row.lost_at ?? undefined,
    replica: row.replica ?? undefined,
    phase: row.phase,
    ...(row.serving === null ? {} : { serving: row.serving === 1 }),
    ...(row.unseen === 1 ? { unseen: true } : {}),
    dueAtMs: row.due_at ?? undefined,
    attempts: row.attempts,
    guard: row.guard ?? undefined,
    reason: row.reason ?? undefined,
  };
}

function causeOf({ cause }: Pick<DepartureRow, 'cause'>): Cause {
  return cause === 'announced' ? 'requested' : cause;
}

export function storedCause(cause: Cause): StoredCause {
  return cause === 'requested' ? 'announced' : cause;
}

export function departureOf(row: DepartureRow): DepartureRecord {
  return {
    key: keyOf(row),
    epoch: row.epoch,
    incarnation: row.incarnation,
    cause: causeOf(row),
    outcome: row.outcome,
    guard: row.guard ?? undefined,
    reason: row.reason,
    attempts: row.attempts,
    atMs: row.at,
  };
}

export function knownDepartureOf(row: DepartureRow & { readonly body: number | null }): KnownDeparture {
  return { ...departureOf(row), undoable: row.body !== null };
}

export function bodyOf(row: BodyRow): DeletedBody {
  return { key: keyOf(row), epoch: row.epoch, resource: row.resource, atMs: row.at };
}

export function keyOf(row: {
  readonly proxy_type: string;
  readonly mesh: string;
  readonly name: string;
}): DataplaneKey {
  return { proxyType: row.proxy_type as ProxyType, mesh: row.mesh, name: row.name };
}
