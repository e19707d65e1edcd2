import { Socket } from 'node:net';

/** A silent host is missed after 2 + 4 × 1 s. */
const IDLE_MS = 2_000;
const INTERVAL_MS = 1_000;
const PROBES = 4;

/** Enables TCP keepalive: the kernel checks the peer, at no cost for this process. */
export function keepAlive(socket: Socket): void {
  socket.setKeepAlive(true, IDLE_MS, INTERVAL_MS, PROBES);
}

/**
 * Whether this Node takes the interval and the count: from 24.19 on. Before, it ignores them, and {@link keepAlive}
 * misses a silent host after minutes.
 */
export function knowsKeepAlive(): boolean {
  return Socket.prototype.setKeepAlive.length >= 4;
}
