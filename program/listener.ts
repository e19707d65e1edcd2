import { chmodSync, existsSync, lstatSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import process from 'node:process';

import { describeError, OperationalError } from '../kernel/errors.ts';
import { formatListenerAddress, isLoopback, type ListenerAddress } from '../kernel/listener-address.ts';

/** The backlog: connections that the kernel queues while this process is busy, for example when a fleet returns. */
const BACKLOG = 4_096;

/** Listens, and gives `onConnection` every socket. @throws OperationalError `LISTENER_FAILED` */
export async function openListener(
  address: ListenerAddress,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ noDelay: true }, onConnection);
  await listenOn(server, address);
  return server;
}

/**
 * Makes `server` listen. A Unix socket that a dead process left is replaced.
 *
 * @throws OperationalError `LISTENER_FAILED`
 */
export async function listenOn(server: Server, address: ListenerAddress): Promise<void> {
  try {
    if (address.kind === 'unix') await listenOnPath(server, address);
    else await listening(server, () => server.listen({ ...address, backlog: BACKLOG }));
  } catch (cause) {
    if (cause instanceof OperationalError) throw cause;
    throw failed(address, describeError(cause), cause);
  }
}

/** The bound address, with the port that the kernel chose. */
export function boundAddress(server: Server, asked: ListenerAddress): ListenerAddress {
  const bound = server.address();
  if (asked.kind === 'unix' || bound === null || typeof bound === 'string') return asked;
  return { kind: 'tcp', host: bound.address, port: bound.port };
}

/** Whether other hosts can reach the bound address. Its name does not decide that. */
export function isExposed(server: Server): boolean {
  const bound = server.address();
  return bound !== null && typeof bound === 'object' && !isLoopback(bound.address);
}

async function listenOnPath(
  server: Server,
  address: ListenerAddress & { readonly kind: 'unix' },
): Promise<void> {
  const { path, mode } = address;
  // The kernel's ENOENT would reach us as "permission denied".
  if (!existsSync(dirname(path))) throw failed(address, `there is no folder ${dirname(path)}`);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined) {
    if (!found.isSocket()) throw failed(address, 'a file of that name is not a socket');
    if (await isAlive(path)) throw failed(address, 'another process listens on it');
    rmSync(path, { force: true });
  }
  await listening(server, () => {
    // Node binds within the call, so no other user can open the socket in between.
    const umask = process.umask(0o777);
    try {
      server.listen({ path, backlog: BACKLOG });
    } finally {
      process.umask(umask);
    }
  });
  chmodSync(path, mode);
}

/** Only a refused connection proves that no process listens: a full backlog belongs to a busy process. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    listen();
  });
}

function failed(address: ListenerAddress, problem: string, cause?: unknown): OperationalError {
  const message = `Cannot listen on ${formatListenerAddress(address)}: ${problem}`;
  return new OperationalError('LISTENER_FAILED', message, cause === undefined ? {} : { cause });
}
