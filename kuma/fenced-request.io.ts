import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';

import { OperationalError } from '../kernel/errors.ts';
import type { ConnectionPool } from './connection-pool.io.ts';

export interface FencedRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly pool: ConnectionPool;
  /** A longer answer is abandoned. */
  readonly mostBytes: number;
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
 * A request with a last check right before its bytes. At that moment the connection is open, TLS included, and `end()`
 * gives the request to the kernel before the next line runs. A process that was suspended before the check runs the
 * check when it wakes up. Only the few instructions after it remain unprotected.
 *
 * It does not use got. got ends a request as soon as it is made, and Node keeps the bytes until the socket has
 * connected, so they would be written later without a check. Node repeats nothing by itself, not even a request that a
 * reused connection lost (`request.reusedSocket` reports that).
 *
 * Once written, the bytes are the server's: a server that was paused may act on them after `signal` has fired.
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
    readAnswer(response, fenced.mostBytes).then(resolve, reject);
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
 * Calls back at once on a connection that was used before; otherwise when it is connected and, with TLS, the other end
 * is verified. Only its event says so of a TLS socket: `connecting` and `getProtocol()` change too early.
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
  // One write for head and body.
  request.end(body);
}

/** An error in the loop destroys the response, and its connection with it. */
async function readAnswer(response: http.IncomingMessage, mostBytes: number): Promise<PlainAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw answerTooLong(mostBytes);
    chunks.push(chunk);
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: Buffer.concat(chunks).toString(),
  };
}

export function answerTooLong(mostBytes: number): OperationalError {
  const limit = `${mostBytes / 1024 / 1024} MiB`;
  return new OperationalError('ANSWER_UNREADABLE', `Cannot read the answer: it is longer than ${limit}`);
}
