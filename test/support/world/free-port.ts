import { createServer } from 'node:net';

/** Below the range from which the kernel takes ports for outgoing connections, so that a port stays free for a restart. */
const FIRST = 10_240;
const LAST = 32_000;
const ATTEMPTS = 100;

/**
 * Test files run side by side, and a port that was found free is bound a moment later: each worker has ports of its own,
 * and a process that is no worker has the first share.
 */
const SHARES = 16;
const SHARE = Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES;
const SHARE_SIZE = Math.floor((LAST - FIRST) / SHARES);

const handedOut = new Set<number>();

/** A loopback TCP port that no process listens on, never the same twice in one process. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = FIRST + SHARE * SHARE_SIZE + Math.floor(Math.random() * SHARE_SIZE);
    if (!handedOut.has(port) && (await isFree(port))) {
      handedOut.add(port);
      return port;
    }
  }
  throw new Error(`No free port between ${FIRST} and ${LAST} in ${ATTEMPTS} attempts`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}
