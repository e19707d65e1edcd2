import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, Socket } from 'node:net';

import { readSocketTable, tableAddress } from '../kernel/socket-table.ts';

/** A silent host is missed after 2 + 4 × 1 s. */
const IDLE_MS = 2_000;
const INTERVAL_MS = 1_000;
const PROBES = 4;

/** Lets the kernel ask the other end whether it is there: that costs this process nothing. */
export function keepAlive(socket: Socket): void {
  socket.setKeepAlive(true, IDLE_MS, INTERVAL_MS, PROBES);
}

/**
 * Whether {@link keepAlive} takes on this host. Node knows the interval and the count since 24.19 and ignores them
 * before; the kernel shows the idle time. Never rejects.
 */
export async function provesKeepalive(): Promise<boolean> {
  if (Socket.prototype.setKeepAlive.length < 4) return false;
  const server = createServer();
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return await provesAt(server.address());
  } catch {
    return false;
  } finally {
    server.close();
  }
}

async function provesAt(address: ReturnType<ReturnType<typeof createServer>['address']>): Promise<boolean> {
  if (address === null || typeof address === 'string') return false;
  const socket = connect(address.port, address.address);
  try {
    await once(socket, 'connect');
    keepAlive(socket);
    const local = tableAddress('127.0.0.1', socket.localPort ?? 0);
    const row = readSocketTable(await readFile('/proc/self/net/tcp', 'latin1')).find(
      (each) => each.local === local,
    );
    // The kernel rounds up to its ticks; its default is two hours.
    return row?.timer === 'keepalive' && row.timerMs < 2 * IDLE_MS;
  } finally {
    socket.destroy();
  }
}
