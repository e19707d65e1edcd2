import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';

import type { ConnectionPool } from './connection-pool.io.ts';

export interface FencedRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly pool: ConnectionPool;
  /** Called right before the bytes are written; if it throws, none is. */
  readonly beforeSend: () => void;
  readonly signal: AbortSignal;
}

export interface PlainAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/**
 * A request whose last check comes when it can no longer wait for anything: the connection is open, TLS included, and
 * `end()` gives the request to the kernel before the next line runs. A process that is suspended for a minute before that
 * wakes up in front of the check. Only the few instructions after the check remain.
 *
 * Not through got, which ends a request as soon as it is made: Node keeps the bytes of a socket that still connects and
 * writes them later, without asking anyone. Node repeats nothing by itself, also not what a reused connection lost
 * (`request.reusedSocket` is there for those who want to).
 *
 * Once written, the bytes are the server's: one that stands still may act on them after `signal` has fired.
 *
 * @throws what `beforeSend` threw, the reason of `signal`, or Node's error
 * @see https://nodejs.org/api/http.html#requestreusedsocket
 */
export async function sendFenced(fenced: FencedRequest): Promise<PlainAnswer> {
  const { signal } = fenced;
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<PlainAnswer>();
  const request = prepare(fenced);
  const giveUp = (): void => {
    request.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', giveUp, { once: true });
  request.on('error', reject);
  request.once('response', (response) => {
    readAnswer(response).then(resolve, reject);
  });
  request.once('socket', (socket) => {
    onceConnected(request, socket, () => {
      // Node reports nothing about an abandoned connection, so this does not rely on it.
      if (!request.destroyed) endUnlessRefused(request, fenced);
    });
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function prepare({ method, url, headers, pool }: FencedRequest): http.ClientRequest {
  const options = { method, headers };
  return url.protocol === 'https:'
    ? https.request(url, { ...options, ...tlsOptions(pool), agent: pool.agents.https })
    : http.request(url, { ...options, agent: pool.agents.http });
}

function tlsOptions({ https: tls }: ConnectionPool): https.RequestOptions {
  const { certificateAuthority: ca, certificate: cert, key, rejectUnauthorized } = tls;
  return {
    rejectUnauthorized,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/**
 * At once on a connection that was used before, else when it stands and, with TLS, the other end was verified. A TLS
 * socket has no documented sign of that but its event: `connecting` and `getProtocol()` speak too early.
 */
function onceConnected(request: http.ClientRequest, socket: Socket, act: () => void): void {
  if (request.reusedSocket) act();
  else socket.once(request.protocol === 'https:' ? 'secureConnect' : 'connect', act);
}

function endUnlessRefused(request: http.ClientRequest, { beforeSend, body }: FencedRequest): void {
  try {
    beforeSend();
  } catch (error) {
    request.destroy(error as Error);
    return;
  }
  // Head and body in one go.
  request.end(body);
}

async function readAnswer(response: http.IncomingMessage): Promise<PlainAnswer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: Buffer.concat(chunks).toString(),
  };
}
