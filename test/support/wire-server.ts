import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createSecureServer } from 'node:tls';

import { TLS_FIXTURES } from './kuma/control-plane.ts';
import { SocketServer } from './world/socket-server.ts';

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}';
const END_OF_REQUEST = '\r\n\r\n';

/** Records every byte that its clients write, and answers `{}` to every request without a body. */
export class WireServer implements AsyncDisposable {
  /** What was received, in clear, one text per connection. */
  readonly received: string[] = [];
  /** Called with each request, before it is answered. */
  onRequest: (request: string) => 'answer' | 'hang up' = () => 'answer';
  readonly #server: SocketServer;
  readonly #scheme: 'http' | 'https';

  private constructor(scheme: 'http' | 'https') {
    this.#scheme = scheme;
    const accept = (socket: Socket): void => {
      this.#accept(socket);
    };
    this.#server = new SocketServer(
      scheme === 'http'
        ? createServer(accept)
        : createSecureServer({ cert: fixture('server.crt'), key: fixture('server.key') }, accept),
    );
  }

  static async start(scheme: 'http' | 'https'): Promise<WireServer> {
    const server = new WireServer(scheme);
    await server.#server.listen();
    return server;
  }

  get url(): URL {
    return new URL(`${this.#scheme}://127.0.0.1:${this.#server.port}`);
  }

  /** Request lines of all connections, in order of arrival per connection. */
  get requests(): readonly string[] {
    return this.received.flatMap((text) => text.match(/^[A-Z]+ \S+(?= HTTP)/gm) ?? []);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }

  #accept(socket: Socket): void {
    const connection = this.received.push('') - 1;
    let pending = '';
    socket.on('error', () => {
      // A client that goes away is the subject of the test.
    });
    socket.on('data', (chunk: Buffer) => {
      this.received[connection] += chunk.toString();
      pending += chunk.toString();
      for (let end = pending.indexOf(END_OF_REQUEST); end >= 0; end = pending.indexOf(END_OF_REQUEST)) {
        const request = pending.slice(0, end);
        pending = pending.slice(end + END_OF_REQUEST.length);
        if (this.onRequest(request) === 'answer') socket.write(ANSWER);
        else socket.destroy();
      }
    });
  }
}

function fixture(name: string): Buffer {
  return readFileSync(join(TLS_FIXTURES, name));
}
