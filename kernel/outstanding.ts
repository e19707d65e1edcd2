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
/** How the kernel probes an idle connection: it misses a silent host after 2 + 4 × 1 s. */
export const KEEPALIVE = { idleMs: 2_000, intervalMs: 1_000, probes: 4 } as const;
/** As long as keepalive takes at an idle connection. */
const DARK_MS = KEEPALIVE.idleMs + KEEPALIVE.probes * KEEPALIVE.intervalMs;
/** One or two packets may be lost; after three in a row the peer counts as silent. */
const DARK_PACKETS = 3;
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

/**
 * The kernel's view of a suspicious connection. A write stops the probes of keepalive, so the silence that they have
 * shown counts: otherwise a write to a host that is already silent would begin its time anew.
 */
export function judgeOutstanding(
  outstanding: Outstanding,
  row: Pick<TcpSocket, 'unacknowledged' | 'timer' | 'retransmissions' | 'probes'> | undefined,
  nowMs: number,
): 'acknowledged' | 'wait' | 'dark' {
  if (row === undefined || row.unacknowledged === 0 || row.timer !== 'retransmission') return 'acknowledged';
  if (row.retransmissions >= CERTAIN_RETRANSMISSIONS) return 'dark';
  const waitedMs = nowMs - (outstanding.sinceMs ?? nowMs);
  const isLong = waitedMs + silentBeforeMs(row.probes) >= DARK_MS;
  return isLong && row.retransmissions + row.probes >= DARK_PACKETS ? 'dark' : 'wait';
}

/** For how long the peer was silent when it was sent the last of so many probes without an answer. */
function silentBeforeMs(probes: number): number {
  return probes === 0 ? 0 : KEEPALIVE.idleMs + (probes - 1) * KEEPALIVE.intervalMs;
}
