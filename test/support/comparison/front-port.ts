import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

import { passOn } from '../pass-on.ts';
import { SocketServer } from '../world/socket-server.ts';

/** One port in front of several on this host: each connection goes to the first that accepts it. */
export class FrontPort implements AsyncDisposable {
  readonly #server: SocketServer;

  private constructor(ports: readonly number[]) {
    const server = createServer({ pauseOnConnect: true }, (client) => {
      void this.#pass(client, ports);
    });
    this.#server = new SocketServer(server);
  }

  static async open(ports: readonly number[]): Promise<FrontPort> {
    const front = new FrontPort(ports);
    await front.#server.listen();
    return front;
  }

  get port(): number {
    return this.#server.port;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }

  async #pass(client: Socket, [port, ...others]: readonly number[]): Promise<void> {
    if (port === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    try {
      await once(upstream, 'connect');
    } catch {
      await this.#pass(client, others);
      return;
    }
    this.#server.track(upstream);
    passOn(client, upstream);
  }
}
