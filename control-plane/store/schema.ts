import type { Cause, DepartureOutcome, Owner, RecordState } from '../records.pure.ts';

/** The tables, as Kysely sees them. Times are the store's, in ms since the epoch. */
export interface Schema {
  dataplanes: DataplaneRow;
  departures: DepartureRow;
  bodies: BodyRow;
  replicas: { replica: string; seen_at: number };
  brake_releases: { mesh: string; until_at: number };
  /** SQLite only: PostgreSQL has a sequence and a clock of its own. */
  counters: { name: string; value: number };
}

interface KeyColumns {
  proxy_type: string;
  mesh: string;
  name: string;
}

export interface DataplaneRow extends KeyColumns {
  epoch: number;
  incarnation: string;
  owner: Owner;
  /** 0 or 1: SQLite has no other. */
  deletable: number;
  address: string | null;
  resource: string | null;
  state: RecordState;
  since_at: number;
  lost_at: number | null;
  replica: string | null;
  phase: string;
  due_at: number | null;
  attempts: number;
  guard: string | null;
  reason: string | null;
}

export interface DepartureRow extends KeyColumns {
  epoch: number;
  incarnation: string;
  cause: Cause;
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
