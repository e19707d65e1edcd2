import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';

import { INSTANCE_HEADER } from './http-application.ts';

/** What a load generator sends its requests to. */
export interface LoadTarget {
  readonly protocol: 'http1' | 'http2' | 'tcp';
  readonly port: number;
  /** Path with query; ignored for TCP. */
  readonly path?: string;
}

/** A successful answer: who gave it. */
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
    case 'tcp':
      return tcpSender(target);
  }
}

function http1Sender({ port, path = '/' }: LoadTarget): Sender {
  const agent = new Agent({ keepAlive: true });
  return {
    send: (signal) =>
      new Promise((resolve, reject) => {
        const call = request({ host: '127.0.0.1', port, path, agent, signal }, (response) => {
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

/** One session at a time; a new one when the old one is going away. */
function http2Sender({ port, path = '/' }: LoadTarget): Sender {
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
  return {
    send: (signal) =>
      new Promise((resolve, reject) => {
        const stream = session().request({ ':path': path }, { signal });
        let status = 0;
        let instance = '';
        stream.on('response', (headers) => {
          status = headers[':status'] ?? 0;
          instance = String(headers[INSTANCE_HEADER] ?? '');
        });
        stream.on('error', reject);
        stream.on('close', () => {
          if (status === 200 && stream.rstCode === 0) resolve({ instance });
          else reject(new Error(`status ${status}, stream code ${stream.rstCode}`));
        });
        stream.resume();
        stream.end();
      }),
    close: () => {
      current?.destroy();
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
