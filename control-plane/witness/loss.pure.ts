/**
 * How an agent's stream ended without a word:
 *
 * - `closed`: the other end's kernel said so, by a FIN or an RST: its process is gone, or hung up.
 * - `dark`: the other end's kernel left our kernel's probes or retransmissions unanswered.
 * - `pinged-out`: the other end's kernel answered, its process did not.
 * - `replica-gone`: no replica saw it end; the one that held it fell silent.
 */
export type LossCause = 'closed' | 'dark' | 'pinged-out' | 'replica-gone';

/** The end of a stream that a replica saw. */
export interface Loss {
  readonly cause: Exclude<LossCause, 'replica-gone'>;
  /** The end in words. */
  readonly reason: string;
}

/** Facts about a connection when a stream on it has ended. */
export interface ConnectionEnd {
  /** Whether it is still open: only the stream has ended. */
  readonly isOpen: boolean;
  /** Whether the other end sent a FIN. */
  readonly isHungUp: boolean;
  /** The error code with which the kernel ended it, such as `ECONNRESET`. */
  readonly errorCode: string | undefined;
  /** Whether this process cut it because its data stayed unacknowledged. */
  readonly isCutAsDark: boolean;
}

/** Kernel errors for a peer that has fallen silent. */
const DARK_CODES: ReadonlySet<string> = new Set([
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
]);

/** If neither kernel ended the connection, our end cut it after an unanswered ping. */
export function causeOfLoss(end: ConnectionEnd): Exclude<LossCause, 'replica-gone'> {
  const { isOpen, isHungUp, errorCode, isCutAsDark } = end;
  if (isCutAsDark || DARK_CODES.has(errorCode ?? '')) return 'dark';
  return isOpen || isHungUp || errorCode !== undefined ? 'closed' : 'pinged-out';
}
