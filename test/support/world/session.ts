import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { request } from 'node:http';
import { connect } from 'node:net';

import { GrpcEchoClient } from './grpc-echo.ts';
import { type LoadTarget } from './load-requests.ts';

const BEAT_MS = 200;

/**
 * A connection that a user of Envoy keeps open: a TCP connection, a gRPC stream or a download, with data every 200
 * ms.
 */
export class ClientSession implements Disposable {
  #receivedAtMs: number | undefined;
  #endedAtMs: number | undefined;
  #closed = false;
  readonly #close: () => void;

  constructor(target: LoadTarget) {
    this.#close = OPENERS[target.protocol](target, {
      received: () => {
        this.#receivedAtMs = performance.now();
      },
      ended: () => {
        if (!this.#closed) this.#endedAtMs ??= performance.now();
      },
    });
  }

  get established(): boolean {
    return this.#receivedAtMs !== undefined;
  }

  /** `performance.now()` when it ended without having been closed here; `undefined` while it lives. */
  get cutAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#close();
  }
}

interface Listener {
  readonly received: () => void;
  readonly ended: () => void;
}
type Open = (target: LoadTarget, listener: Listener) => () => void;

const DOWNLOAD = `/?delay=${BEAT_MS}&chunks=100000`;

const OPENERS: Readonly<Record<LoadTarget['protocol'], Open>> = {
  tcp: ({ port }, { received, ended }) => {
    const socket = connect(port, '127.0.0.1');
    const beat = setInterval(() => {
      if (socket.writable) socket.write('ping\n');
    }, BEAT_MS);
    socket.on('data', received);
    socket.on('error', ended);
    socket.on('close', () => {
      clearInterval(beat);
      ended();
    });
    return () => socket.destroy();
  },
  http1: ({ port, host = '127.0.0.1' }, { received, ended }) => {
    const call = request({ host, port, path: DOWNLOAD, agent: false }, (response) => {
      response.on('data', received);
      response.on('close', ended);
      response.on('error', ended);
    });
    call.on('error', ended);
    call.end();
    return () => call.destroy();
  },
  http2: ({ port }, { received, ended }) => {
    const session: ClientHttp2Session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on('error', ended);
    const stream = session.request({ ':path': DOWNLOAD });
    stream.on('data', received);
    stream.on('error', ended);
    stream.on('close', ended);
    stream.end();
    return () => {
      session.destroy();
    };
  },
  grpc: ({ port }, { received, ended }) => {
    const client = new GrpcEchoClient(port);
    const stream = client.stream();
    const beat = setInterval(() => stream.write(Buffer.from('ping')), BEAT_MS);
    const end = (): void => {
      clearInterval(beat);
      ended();
    };
    stream.on('data', received);
    stream.on('error', end);
    stream.on('end', end);
    return () => {
      clearInterval(beat);
      stream.cancel();
      client.close();
    };
  },
};
