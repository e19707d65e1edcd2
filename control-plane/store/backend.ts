import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Fence } from '../ports.ts';
import type { SideliningRecord } from '../records.pure.ts';
import type { Wanted } from './deletions.ts';
import type { DataplaneRow } from './schema.ts';
import type { Session } from './session.ts';

/** The work on a locked row. */
export interface Holding<T> {
  act(row: DataplaneRow, fence: Fence): Promise<T>;
  /** Runs in the transaction that releases the lock. Left out where there is nothing to record. */
  readonly settle?: (session: Session, row: DataplaneRow, value: T) => Promise<void>;
}

/** The work on a locked name. */
export interface NameHolding<T> {
  readonly act: (held: HeldName) => Promise<T>;
  /** Runs in the transaction that releases the lock. */
  readonly settle: (session: Session, value: T) => Promise<void>;
}

export interface HeldName {
  readonly row: DataplaneRow | undefined;
  readonly sidelining: SideliningRecord | undefined;
  readonly fence: Pick<Fence, 'nowMs' | 'assertHeld'>;
}

/** The operations that differ between the databases. */
export interface Backend {
  readonly kind: 'sqlite' | 'postgres';
  /** A read outside a transaction. */
  read<T>(work: (session: Pick<Session, 'db'>) => Promise<T>): Promise<T>;
  /** One transaction. */
  run<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** The same, on a way of its own: however much else is asked of the database, a heartbeat does not wait for it. */
  beat<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** One transaction, while no other caller attaches, leaves or deletes under this name. */
  runAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T>;
  /** The same, on a way of its own, as {@link Backend.beat}. */
  leaveAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Takes the row that is wanted, if no other caller has its name, and keeps it while `act` runs, which is no part of any
   * transaction of SQLite's.
   *
   * @param patient waits a moment for the caller that has the name, instead of passing it over
   */
  hold<T>(
    wanted: Wanted,
    holding: Holding<T>,
    patient: boolean,
  ): Promise<{ readonly row: DataplaneRow; readonly value: T } | undefined>;
  /** Keeps a name to itself while `act` runs, whether it has a row or not; waits for its holder, for a moment. */
  holdName<T>(key: DataplaneKey, holding: NameHolding<T>): Promise<T>;
  close(): Promise<void>;
}
