import { Socket } from 'node:net';

import { KEEPALIVE } from '../kernel/outstanding.ts';

/** Enables TCP keepalive: the kernel checks the peer, at no cost for this process. */
export function keepAlive(socket: Socket): void {
  socket.setKeepAlive(true, KEEPALIVE.idleMs, KEEPALIVE.intervalMs, KEEPALIVE.probes);
}

/**
 * Whether this Node takes the interval and the count: from 24.19 on. Before, it ignores them, and {@link keepAlive}
 * misses a silent host after minutes.
 */
export function knowsKeepAlive(): boolean {
  return Socket.prototype.setKeepAlive.length >= 4;
}
