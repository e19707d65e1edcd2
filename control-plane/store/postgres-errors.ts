import { DatabaseError } from 'pg';

import { OperationalError } from '../../kernel/errors.ts';

/** Whether the connection can be trusted no more: the server said nothing, or that it is leaving. */
export function breaksConnection(error: unknown): boolean {
  return !(error instanceof DatabaseError) || error.severity === 'FATAL' || error.severity === 'PANIC';
}

/**
 * By SQLSTATE. What a statement of ours did wrong is a bug, and stays what it is.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function ofPostgres(error: unknown, place: string): unknown {
  const state = error instanceof DatabaseError ? (error.code ?? '') : undefined;
  if (state !== undefined && BUSY.has(state)) {
    return new OperationalError(
      'STORE_BUSY',
      `Cannot lock a dataplane in ${place}: another caller holds it`,
      {
        cause: error,
      },
    );
  }
  const isWeather = state === undefined || WEATHER.has(state) || WEATHER.has(state.slice(0, 2));
  if (!isWeather) return error;
  return new OperationalError('STORE_UNAVAILABLE', `Cannot use ${place}`, { cause: error });
}

/** lock_not_available, deadlock_detected, serialization_failure */
const BUSY: ReadonlySet<string> = new Set(['55P03', '40P01', '40001']);

/**
 * Connection, transaction state (read-only after a failover, idle for too long), authorization, catalogue,
 * resources, operator intervention (statement timeout, shutdown), system, internal; and a privilege that is missing.
 */
const WEATHER: ReadonlySet<string> = new Set(['08', '25', '28', '3D', '53', '57', '58', 'XX', '42501']);
