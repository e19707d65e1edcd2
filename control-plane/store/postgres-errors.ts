import { DatabaseError } from 'pg';

import { OperationalError } from '../../kernel/errors.ts';

/** What an error means for its session. */
export type SessionHealth =
  /** The statement was wrong, or waited too long: the next one may succeed. */
  | 'usable'
  /** This session cannot serve any more. */
  | 'spent'
  /** Neither this session nor any earlier one can serve: the server was demoted, or it is shutting down. */
  | 'server spent';

/** A session is kept only after an error that a healthy session may give: every other error costs one reconnect. */
export function sessionHealth(error: unknown): SessionHealth {
  if (!(error instanceof DatabaseError)) return 'spent';
  const state = error.code ?? '';
  if (SERVER_SPENT.has(state)) return 'server spent';
  if (error.severity === 'FATAL' || error.severity === 'PANIC') return 'spent';
  return USABLE.has(state) || USABLE.has(state.slice(0, 2)) ? 'usable' : 'spent';
}

/** read_only_sql_transaction; admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped */
const SERVER_SPENT: ReadonlySet<string> = new Set(['25006', '57P01', '57P02', '57P03', '57P04']);

/**
 * Failures by SQLSTATE. An error in our own statement is a bug, and stays one.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function ofPostgres(error: unknown, place: string): unknown {
  const state = error instanceof DatabaseError ? (error.code ?? '') : undefined;
  if (state !== undefined && BUSY.has(state)) {
    return new OperationalError('STORE_BUSY', `Cannot lock a dataplane in ${place}: another caller has it`, {
      cause: error,
    });
  }
  const isTransient = state === undefined || TRANSIENT.has(state) || TRANSIENT.has(state.slice(0, 2));
  if (!isTransient) return error;
  return new OperationalError('STORE_UNAVAILABLE', `Cannot use ${place}`, { cause: error });
}

/** lock_not_available, deadlock_detected, serialization_failure */
const BUSY: ReadonlySet<string> = new Set(['55P03', '40P01', '40001']);

/** {@link BUSY}, query_canceled (a statement's time was over), integrity constraints */
const USABLE: ReadonlySet<string> = new Set([...BUSY, '57014', '23']);

/**
 * Connection, transaction state (read-only after a failover, idle for too long), authorization, catalogue,
 * resources, operator intervention (statement timeout, shutdown), system, internal; and a privilege that is missing.
 */
const TRANSIENT: ReadonlySet<string> = new Set(['08', '25', '28', '3D', '53', '57', '58', 'XX', '42501']);
