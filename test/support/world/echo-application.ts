import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

import { type ApplicationOptions } from './http-application.ts';

/** A TCP backend that sends back each line that it gets with its name in front: `name:line`. */
export class EchoApplication implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(name: string) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      let rest = '';
      socket.on('data', (chunk: Buffer) => {
        const lines = `${rest}${chunk.toString()}`.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) socket.write(`${name}:${line}\n`);
      });
    });
  }

  static async start({ name, port = 0 }: ApplicationOptions): Promise<EchoApplication> {
    const application = new EchoApplication(name);
    await new Promise<void>((listening, failed) => {
      application.#server.once('error', failed);
      application.#server.listen(port, '127.0.0.1', listening);
    });
    return application;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((closed) => {
      this.#server.close(() => {
        closed();
      });
      for (const socket of this.#sockets) socket.destroy();
    });
  }
}
