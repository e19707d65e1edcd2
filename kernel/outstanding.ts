import type { TcpSocket } from './socket-table.ts';

/** The watched state of a connection: what was written, and for how long the other end has not acknowledged it. */
export interface Outstanding {
  readonly bytesWritten: number;
  readonly bytesRead: number;
  /** When a write was first seen that may not be acknowledged. */
  readonly sinceMs: number | undefined;
}

export const NOTHING_OUTSTANDING: Outstanding = { bytesWritten: 0, bytesRead: 0, sinceMs: undefined };

/** Below this time an answer may still be on its way. */
const SUSPICIOUS_MS = 2_000;
/** The kernel's keepalive takes as long at an idle connection: see keepalive.ts. */
const DARK_MS = 6_000;
/** One or two retransmissions may be lost; after three in a row the peer counts as silent. */
const DARK_RETRANSMISSIONS = 3;
/** With a tail loss probe and Linux's shortest timeout (200 ms, doubled each time), this many take 6.2 s. */
const CERTAIN_RETRANSMISSIONS = 6;

type OutstandingCounters = Pick<Outstanding, 'bytesWritten' | 'bytesRead'>;

/**
 * A look at the counters alone. Data that arrives after a write may have been sent before the write arrived. So it does
 * not prove that the write was acknowledged, but it proves that the other end was there.
 */
export function noteCounters(before: Outstanding, now: OutstandingCounters, nowMs: number): Outstanding {
  const { bytesWritten, bytesRead } = now;
  const isOutstanding = before.sinceMs !== undefined || bytesWritten !== before.bytesWritten;
  const sinceMs = bytesRead === before.bytesRead ? (before.sinceMs ?? nowMs) : nowMs;
  return { bytesWritten, bytesRead, sinceMs: isOutstanding ? sinceMs : undefined };
}

/** Whether only the kernel knows if the other end has gone dark. Then its table is worth a reading. */
export function isSuspicious({ sinceMs }: Outstanding, nowMs: number): boolean {
  return sinceMs !== undefined && nowMs - sinceMs >= SUSPICIOUS_MS;
}

/** The kernel's view of a suspicious connection. */
export function judgeOutstanding(
  outstanding: Outstanding,
  row: Pick<TcpSocket, 'unacknowledged' | 'timer' | 'retransmissions'> | undefined,
  nowMs: number,
): 'acknowledged' | 'wait' | 'dark' {
  if (row === undefined || row.unacknowledged === 0 || row.timer !== 'retransmission') return 'acknowledged';
  if (row.retransmissions >= CERTAIN_RETRANSMISSIONS) return 'dark';
  const waitedMs = nowMs - (outstanding.sinceMs ?? nowMs);
  return waitedMs >= DARK_MS && row.retransmissions >= DARK_RETRANSMISSIONS ? 'dark' : 'wait';
}
