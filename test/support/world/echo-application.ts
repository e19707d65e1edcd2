import { createServer } from 'node:net';

import { type ApplicationOptions } from './http-application.ts';
import { SocketServer } from './socket-server.ts';

/** A TCP backend that sends back each line that it gets with its name in front: `name:line`. */
export class EchoApplication implements AsyncDisposable {
  readonly #server: SocketServer;

  private constructor(server: SocketServer) {
    this.#server = server;
  }

  static async start({ name, port }: ApplicationOptions): Promise<EchoApplication> {
    const server = createServer((socket) => {
      let rest = '';
      socket.on('data', (chunk: Buffer) => {
        const lines = `${rest}${chunk.toString()}`.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) socket.write(`${name}:${line}\n`);
      });
    });
    return new EchoApplication(await SocketServer.start(server, { port }));
  }

  get port(): number {
    return this.#server.port;
  }

  get connections(): number {
    return this.#server.connections;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}
