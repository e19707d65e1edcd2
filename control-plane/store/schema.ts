import type {
  Cause,
  DepartureOutcome,
  InstanceStanding,
  ObjectOwner,
  RecordState,
  SideliningStage,
} from '../records.pure.ts';

/** The first released schema says `announced`. Replicas of that version read and write the same rows. */
export type StoredCause = Exclude<Cause, 'requested'> | 'announced';

/** The tables, as Kysely sees them. Times are the store's, in ms since the epoch. */
export interface Schema {
  dataplanes: DataplaneRow;
  departures: DepartureRow;
  bodies: BodyRow;
  replicas: { replica: string; seen_at: number };
  instances: InstanceRow;
  /** One row, once the store is bound to a zone. */
  zones: ZoneRow;
  sidelinings: SideliningRow;
  acquaintances: AcquaintanceRow;
  brake_releases: { mesh: string; until_at: number };
  /** SQLite only: PostgreSQL has a sequence and a clock of its own. */
  counters: { name: string; value: number };
}

export interface SideliningRow extends KeyColumns {
  stage: SideliningStage;
  began_at: number;
  due_at: number;
  /** The record as JSON. */
  record: string;
}

export interface AcquaintanceRow {
  place: string;
  subject: string;
  witness: string;
  reached_at: number;
}

export interface InstanceRow {
  instance_id: string;
  url: string | null;
  standing: InstanceStanding;
  seen_at: number;
}

export interface ZoneRow {
  id: 1;
  name: string | null;
  cluster_id: string | null;
}

interface KeyColumns {
  proxy_type: string;
  mesh: string;
  name: string;
}

export interface DataplaneRow extends KeyColumns {
  epoch: number;
  incarnation: string;
  owner: ObjectOwner;
  /** 0 or 1: SQLite has no booleans. */
  deletable: number;
  address: string | null;
  peer: string | null;
  resource: string | null;
  state: RecordState;
  since_at: number;
  lost_at: number | null;
  replica: string | null;
  phase: string;
  /** 0 or 1; null while its agent has not said whether its Envoy serves. */
  serving: number | null;
  /** 0 or 1: no replica saw its stream end, since the replica that held it fell silent or was restarted. */
  unseen: number;
  due_at: number | null;
  attempts: number;
  guard: string | null;
  reason: string | null;
}

export interface DepartureRow extends KeyColumns {
  epoch: number;
  incarnation: string;
  cause: StoredCause;
  outcome: DepartureOutcome;
  guard: string | null;
  reason: string;
  attempts: number;
  at: number;
}

export interface BodyRow extends KeyColumns {
  epoch: number;
  resource: string;
  at: number;
}
