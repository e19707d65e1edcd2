import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';

import { GrpcEchoClient } from './grpc-echo.ts';
import { INSTANCE_HEADER } from './http-application.ts';

/** What a load generator sends its requests to. */
export interface LoadTarget {
  readonly protocol: 'http1' | 'http2' | 'grpc' | 'tcp';
  readonly port: number;
  /** Of the host to call; 127.0.0.1 if left out. HTTP/1.1 only. */
  readonly host?: string;
  /** How long the application takes for an answer. */
  readonly delayMs?: number;
  /** A new connection for each request. HTTP/1.1 only; TCP has no other way. */
  readonly fresh?: true;
}

/** A successful answer, with its sender. */
interface LoadAnswer {
  readonly instance: string;
}

/** Sends single requests over connections that it keeps. */
export interface Sender {
  /** @throws Error for everything but a complete answer with status 200 */
  send(signal: AbortSignal): Promise<LoadAnswer>;
  close(): void;
}

export function senderFor(target: LoadTarget): Sender {
  switch (target.protocol) {
    case 'http1':
      return http1Sender(target);
    case 'http2':
      return http2Sender(target);
    case 'grpc':
      return grpcSender(target);
    case 'tcp':
      return tcpSender(target);
  }
}

function http1Sender({ port, host = '127.0.0.1', fresh, ...target }: LoadTarget): Sender {
  const agent = new Agent({ keepAlive: fresh !== true });
  const path = pathOf(target);
  return {
    send: (signal) =>
      new Promise((resolve, reject) => {
        const call = request({ host, port, path, agent, signal }, (response) => {
          const { statusCode, headers } = response;
          response.on('error', reject);
          response.on('aborted', () => {
            reject(new Error('answer cut off'));
          });
          response.on('end', () => {
            if (statusCode === 200) resolve({ instance: String(headers[INSTANCE_HEADER] ?? '') });
            else reject(new Error(`status ${statusCode ?? 0}`));
          });
          response.resume();
        });
        call.on('error', reject);
        call.end();
      }),
    close: () => {
      agent.destroy();
    },
  };
}

const MAX_REFUSALS = 3;

/** One session at a time; a new one when the old one is going away. */
function http2Sender({ port, ...target }: LoadTarget): Sender {
  const path = pathOf(target);
  let current: ClientHttp2Session | undefined;
  const session = (): ClientHttp2Session => {
    if (current !== undefined && !current.closed && !current.destroyed) return current;
    const fresh = connectHttp2(`http://127.0.0.1:${port}`);
    fresh.on('error', () => {
      // Each request reports the failure that it met.
    });
    fresh.on('goaway', () => {
      fresh.close();
    });
    current = fresh;
    return fresh;
  };
  const attempt = (signal: AbortSignal): Promise<LoadAnswer | 'refused'> =>
    new Promise((resolve, reject) => {
      const stream = session().request({ ':path': path }, { signal });
      let status = 0;
      let instance = '';
      stream.on('response', (headers) => {
        status = headers[':status'] ?? 0;
        instance = String(headers[INSTANCE_HEADER] ?? '');
      });
      stream.on('error', (error: Error) => {
        if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) resolve('refused');
        else reject(error);
      });
      stream.on('close', () => {
        if (status === 200 && stream.rstCode === 0) resolve({ instance });
        else reject(new Error(`status ${status}, stream code ${stream.rstCode}`));
      });
      stream.resume();
      stream.end();
    });
  return {
    // A stream that a server refused was not begun: clients send it again, over another connection (RFC 9113, 8.7).
    send: async (signal) => {
      for (let attempts = 0; attempts < MAX_REFUSALS; attempts += 1) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const answer = await attempt(signal);
        if (answer !== 'refused') return answer;
      }
      throw new Error('stream refused');
    },
    close: () => {
      current?.destroy();
    },
  };
}

function pathOf({ delayMs = 0 }: Pick<LoadTarget, 'delayMs'>): string {
  return delayMs === 0 ? '/' : `/?delay=${delayMs}`;
}

function grpcSender({ port, delayMs = 0 }: LoadTarget): Sender {
  const client = new GrpcEchoClient(port);
  return {
    send: async (signal) => ({ instance: await client.unary(delayMs, signal) }),
    close: () => {
      client.close();
    },
  };
}

/** One connection per request: TCP has no way to move to another endpoint. */
function tcpSender({ port }: LoadTarget): Sender {
  return {
    send: (signal) =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port, signal });
        let answer = '';
        socket.on('error', reject);
        socket.on('close', () => {
          reject(new Error('closed without an answer'));
        });
        socket.on('data', (chunk: Buffer) => {
          answer += chunk.toString();
          if (!answer.endsWith('\n')) return;
          resolve({ instance: answer.split(':')[0] ?? '' });
          socket.end();
        });
        socket.write('ping\n');
      }),
    close: () => {
      // Connections end with their request.
    },
  };
}
