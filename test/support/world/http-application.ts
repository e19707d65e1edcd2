import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { createServer } from 'node:net';

import { SocketServer } from './socket-server.ts';

export interface ApplicationOptions {
  /** Answered in the body and in the header `x-instance`. */
  readonly name: string;
  /** Any free port if left out. */
  readonly port?: number;
}

/** Header by which load generators see who answered. */
export const INSTANCE_HEADER = 'x-instance';

const HTTP2_PREFACE = 'PRI * HTTP/2.0';

/**
 * A backend that answers with its name, over HTTP/1.1 and cleartext HTTP/2 on one port.
 *
 * Query parameters: `delay` holds the answer back for so many milliseconds, `chunks` sends that many lines, each
 * `delay` after the other. `/hold` answers when {@link release} is called.
 */
export class HttpApplication implements AsyncDisposable {
  readonly #server: SocketServer;
  readonly #name: string;
  #held: (() => void)[] = [];
  #active = 0;

  private constructor({ name, port }: ApplicationOptions) {
    this.#name = name;
    const http1 = createHttpServer((request, response) => {
      void this.#answer(request, response);
    });
    const http2 = createHttp2Server((request, response) => {
      void this.#answer(request, response);
    });
    http2.on('sessionError', () => {
      // A peer that resets is no error.
    });
    const server = createServer((socket) => {
      socket.once('data', (chunk: Buffer) => {
        socket.pause();
        socket.unshift(chunk);
        const target = chunk.toString('latin1').startsWith(HTTP2_PREFACE) ? http2 : http1;
        target.emit('connection', socket);
        if (target === http1) socket.resume();
      });
    });
    this.#server = new SocketServer(server, { port });
  }

  static async start(options: ApplicationOptions): Promise<HttpApplication> {
    const application = new HttpApplication(options);
    await application.#server.listen();
    return application;
  }

  get port(): number {
    return this.#server.port;
  }

  /** Requests that are not answered yet. */
  get active(): number {
    return this.#active;
  }

  /** Answers the requests that `/hold` holds. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const answer of held) answer();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }

  async #answer(
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
  ): Promise<void> {
    this.#active += 1;
    try {
      request.resume();
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://application');
      const delayMs = Number(searchParams.get('delay') ?? '0');
      const chunks = Number(searchParams.get('chunks') ?? '1');
      response.setHeader(INSTANCE_HEADER, this.#name);
      if (pathname === '/hold') await new Promise<void>((released) => this.#held.push(released));
      const gone = new AbortController();
      response.once('close', () => {
        gone.abort();
      });
      for (let chunk = 1; chunk <= chunks && !gone.signal.aborted; chunk += 1) {
        if (delayMs > 0) await new Promise((elapsed) => setTimeout(elapsed, delayMs));
        writeLine(response, `${this.#name}\n`, chunk === chunks);
      }
    } finally {
      this.#active -= 1;
    }
  }
}

function writeLine(response: ServerResponse | Http2ServerResponse, line: string, last: boolean): void {
  // The two classes share these methods, but not their overloads.
  const writable = response as Pick<ServerResponse, 'write' | 'end'>;
  if (last) writable.end(line);
  else writable.write(line);
}
