import type { Server } from 'node:http';
import { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';

import { systemClock } from '../kernel/clock.ts';

/** Above this number, the oldest connection without a request is closed once its time is over. */
const SOFT_MOST = 100;
const PATIENCE_MS = 250;
/** At this number it is closed at once. */
const HARD_MOST = 2_000;

/** Makes room for connections with requests, however many idle ones exist. */
export function boundConnections(server: Server | TlsServer): void {
  const open = new Set<Socket>();
  /** Connections without a request in progress, the oldest first; since when, in monotonic ms. */
  const idle = new Map<Socket, number>();
  const endOldest = (patienceMs: number): boolean => {
    const [oldest] = idle;
    if (oldest === undefined || systemClock.monotonicMs() - oldest[1] < patienceMs) return false;
    const [socket] = oldest;
    forget(socket);
    socket.destroy();
    return true;
  };
  const forget = (socket: Socket): void => {
    open.delete(socket);
    idle.delete(socket);
  };
  const isSecure = server instanceof TlsServer;
  // A handshake in progress is not an open connection yet: each has a time limit, and there is one for all together.
  if (isSecure) server.maxConnections = HARD_MOST;
  server.on(isSecure ? 'secureConnection' : 'connection', (socket: Socket) => {
    while (open.size >= SOFT_MOST && endOldest(PATIENCE_MS));
    if (open.size >= HARD_MOST && !endOldest(0)) {
      socket.destroy();
      return;
    }
    open.add(socket);
    idle.set(socket, systemClock.monotonicMs());
    socket.once('close', () => {
      forget(socket);
    });
  });
  server.on('request', ({ socket }, response) => {
    idle.delete(socket);
    response.once('close', () => {
      if (open.has(socket)) idle.set(socket, systemClock.monotonicMs());
    });
  });
}
