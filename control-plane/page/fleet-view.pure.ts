import { describeKey } from '../../kuma/dataplane.ts';
import type { BrakeStanding } from '../evidence/brake.pure.ts';
import { GUARDS } from '../evidence/guards.pure.ts';
import type { Cause, DepartureRecord, FleetRecord, RecordState, SideliningRecord } from '../records.pure.ts';
import type { StopTimeline, TimelineStep } from './stop-steps.pure.ts';

/** The fleet as the page shows it. Times are the store's, in ms; ages are the viewer's to count. */
export interface FleetSnapshot {
  readonly nowMs: number;
  readonly head: FleetHead;
  /** In the order of their ids. */
  readonly dataplanes: readonly FleetRow[];
  /** Newest first. */
  readonly departures: readonly FleetDeparture[];
}

/** Facts about the whole zone. */
export interface FleetHead {
  readonly version: string;
  /** This process, among those that share the store. */
  readonly replica: string;
  readonly startedAtMs: number;
  readonly replicas: readonly string[];
  /** Empty `problem`: it answers. */
  readonly store: { readonly kind: string; readonly problem: string };
  readonly controlPlanes: readonly FleetControlPlane[];
  readonly brakes: readonly FleetBrake[];
  /** The purpose of each guard. */
  readonly guards: Readonly<Record<string, string>>;
}

export interface FleetControlPlane {
  readonly url: string;
  readonly mode: string;
  readonly version: string;
  readonly instanceId: string;
  /** Empty if it answers. */
  readonly problem: string;
}

export type FleetBrake = Omit<BrakeStanding, 'releasedForMs'>;

export interface FleetRow {
  /** `mesh/name`. */
  readonly id: string;
  /** `sidelined`: lost, and out of rotation because no witness reaches it. */
  readonly state: RecordState | 'sidelined';
  /** Of its first inbound or its gateway; empty if the agent brought no resource. */
  readonly service: string;
  /** Empty if unknown. */
  readonly address: string;
  /** The phase that the agent reported. */
  readonly phase: string;
  readonly incarnation: string;
  readonly epoch: number;
  readonly replica: string;
  /** 0 if unknown because the store is unavailable. */
  readonly sinceMs: number;
  readonly attempts: number;
  /** What holds its deletion back; empty if nothing does. */
  readonly guard: string;
  readonly reason: string;
  readonly dueAtMs: number;
}

export interface FleetDeparture {
  readonly id: string;
  readonly incarnation: string;
  readonly epoch: number;
  readonly cause: Cause;
  readonly outcome: string;
  readonly guard: string;
  readonly reason: string;
  readonly attempts: number;
  readonly atMs: number;
  /** 0 if it is not known. */
  readonly totalMs: number;
  readonly steps: readonly TimelineStep[];
}

/** Notes on a departure beyond its record. */
export interface DepartureNote {
  readonly timeline?: StopTimeline;
  /** When its agent asked to leave, or its stream was lost. */
  readonly beganAtMs?: number;
}

/** The fields that every record has. */
export const GUARD_WORDS: Readonly<Record<string, string>> = GUARDS;

/**
 * @param sidelining of its name, as long as that is not over
 * @param unwatched why its loss would not be noticed at once; empty if it would, or this replica does not know
 */
export function viewDataplane(
  record: FleetRecord,
  sidelining?: Pick<SideliningRecord, 'reason'>,
  unwatched = '',
): FleetRow {
  const { key, phase, incarnation, epoch, replica, sinceMs, attempts } = record;
  const isOut = record.state === 'lost' && sidelining !== undefined;
  const state = isOut ? 'sidelined' : record.state;
  return {
    id: describeKey(key),
    state,
    service: serviceIn(record.resourceHead ?? ''),
    address: record.address ?? '',
    phase,
    incarnation,
    epoch,
    replica: replica ?? '',
    sinceMs: Math.round(sinceMs ?? 0),
    attempts,
    ...heldBack(record, isOut ? sidelining : undefined, unwatched),
    dueAtMs: Math.round(record.dueAtMs ?? 0),
  };
}

/** No guard holds an attached dataplane back, whatever guard its record names. */
function heldBack(
  record: FleetRecord,
  sidelining: Pick<SideliningRecord, 'reason'> | undefined,
  unwatched: string,
): Pick<FleetRow, 'guard' | 'reason'> {
  const { state, guard = '', reason = '' } = record;
  if (state === 'attached') return { guard: '', reason: describeUnwatched(unwatched) };
  return { guard, reason: sidelining === undefined ? reason : describeOut(sidelining, record) };
}

function describeUnwatched(why: string): string {
  return why === '' ? '' : `a loss would not be noticed at once: ${why}`;
}

/** The testimonies, and what holds the deletion back. */
function describeOut({ reason }: Pick<SideliningRecord, 'reason'>, record: FleetRecord): string {
  const said = `out of rotation (${reason})`;
  return record.reason === undefined || record.reason === '' ? said : `${said}; ${record.reason}`;
}

/** Ten thousand rows are converted every second, so this does not parse a whole resource for one word. */
function serviceIn(resource: string): string {
  return /"kuma\.io\/service"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(resource)?.[1] ?? '';
}

/**
 * A departure as a bar. A requested departure shows its agent's report of the stop, the others what this program did.
 */
export function viewDeparture(record: DepartureRecord, note: DepartureNote = {}): FleetDeparture {
  const { key, guard, atMs, ...rest } = record;
  const timeline = (rest.cause === 'requested' ? note.timeline : undefined) ?? drawn(record, note.beganAtMs);
  return { id: describeKey(key), ...rest, guard: guard ?? '', atMs: Math.round(atMs), ...timeline };
}

const ONLY_STEP: Readonly<Record<Cause, string>> = {
  requested: 'deregister',
  fallback: 'silent',
  sweep: 'offline',
};

function drawn(
  { cause, outcome, atMs }: Pick<DepartureRecord, 'cause' | 'outcome' | 'atMs'>,
  beganAtMs: number | undefined,
): StopTimeline {
  if (beganAtMs === undefined) return { totalMs: 0, steps: [] };
  const totalMs = Math.max(0, Math.round(atMs - beganAtMs));
  return { totalMs, steps: [{ step: ONLY_STEP[cause], startMs: 0, durationMs: totalMs, outcome }] };
}
