import { createServer } from 'node:net';

/** Below the range from which the kernel takes ports for outgoing connections, so that a port stays free for a restart. */
const FIRST = 10_240;
const LAST = 32_000;
const ATTEMPTS = 100;

const handedOut = new Set<number>();

/** A loopback TCP port that nobody listens on, never the same twice in one process. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    // oxlint-disable-next-line no-await-in-loop -- the first free one ends the search
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
