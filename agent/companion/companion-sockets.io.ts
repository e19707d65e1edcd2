import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

import { systemClock } from '../../kernel/clock.ts';
import { DarkWatch } from '../../program/dark-watch.ts';
import { keepAlive } from '../../program/keepalive.ts';

/** Of a gRPC target without a port. */
const DEFAULT_PORT = 443;

const cared = new WeakSet<Socket>();
const darkWatch = new DarkWatch(systemClock);

/**
 * Lets the kernel find out that a companion's host has fallen silent, so that the agent attaches elsewhere within
 * seconds. grpc-js hides its sockets; Node publishes each client socket that this process makes.
 *
 * @returns what ends it for sockets that are made later
 */
export function careForConnectionsTo({ port }: URL): () => void {
  const wanted = port === '' ? DEFAULT_PORT : Number(port);
  const onSocket = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket };
    socket.once('connect', () => {
      if (socket.remotePort === wanted) care(socket);
    });
  };
  subscribe('net.client.socket', onSocket);
  return () => {
    unsubscribe('net.client.socket', onSocket);
  };
}

function care(socket: Socket): void {
  if (cared.has(socket)) return;
  cared.add(socket);
  keepAlive(socket);
  darkWatch.watch(socket, () => {
    const dark = new Error('The other end has stopped acknowledging data');
    socket.destroy(Object.assign(dark, { code: 'ETIMEDOUT' }));
  });
}
