import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Fence } from '../ports.ts';
import type { SideliningRecord } from '../records.pure.ts';
import type { Wanted } from './deletions.ts';
import type { DataplaneRow } from './schema.ts';
import type { Session } from './session.ts';

/** The work on a locked row. */
export interface RowWork<T> {
  act(row: DataplaneRow, fence: Fence): Promise<T>;
  /** Runs in the transaction that releases the lock. Left out where there is nothing to record. */
  readonly record?: (session: Session, row: DataplaneRow, value: T) => Promise<void>;
}

/** The work on a locked name. */
export interface NameWork<T> {
  readonly act: (held: HeldName) => Promise<T>;
  /** Runs in the transaction that releases the lock. */
  readonly record: (session: Session, value: T) => Promise<void>;
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
  /** As {@link Backend.run}, on a connection of its own: a heartbeat never waits for other work. */
  beat<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** One transaction, while no other caller attaches, leaves or deletes under this name. */
  runAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T>;
  /** As {@link Backend.runAlone}, on connections of their own: a stop never waits for other work. */
  leaveAlone<T>(key: DataplaneKey, work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Locks the wanted row, if no other caller has its name, and keeps the lock while `act` runs. On SQLite `act` runs
   * outside of any transaction.
   *
   * @param patient waits a moment for the caller that has the name, instead of skipping the row
   */
  lockRow<T>(
    wanted: Wanted,
    work: RowWork<T>,
    patient: boolean,
  ): Promise<{ readonly row: DataplaneRow; readonly value: T } | undefined>;
  /** Locks a name while `act` runs, whether it has a row or not. Waits a moment for another holder. */
  lockName<T>(key: DataplaneKey, work: NameWork<T>): Promise<T>;
  close(): Promise<void>;
}
