import { connect } from 'node:net';

import type { ApplicationPort } from '../identity/used-proxy.pure.ts';

const PROBE_PATIENCE_MS = 200;

/** Never throws. */
export async function probeApplication(
  ports: readonly ApplicationPort[],
): Promise<'answer' | 'refuse' | 'unknown'> {
  const answers = await Promise.all(ports.map(probe));
  if (answers.includes('answer')) return 'answer';
  return answers.includes('refuse') ? 'refuse' : 'unknown';
}

/** A connection that is opened and closed again; no byte is sent. */
function probe({ host, port }: ApplicationPort): Promise<'answer' | 'refuse' | 'unknown'> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: PROBE_PATIENCE_MS });
    const end = (answer: 'answer' | 'refuse' | 'unknown'): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end('answer'));
    socket.once('timeout', () => end('unknown'));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' ? 'refuse' : 'unknown'),
    );
  });
}
