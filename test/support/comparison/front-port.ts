import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

import { passOn } from '../pass-on.ts';

/** One port in front of several on this host: each connection goes to the first that accepts it. */
export class FrontPort implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(ports: readonly number[]) {
    this.#server = createServer({ pauseOnConnect: true }, (client) => {
      this.#sockets.add(client);
      client.on('error', () => client.destroy());
      void this.#pass(client, ports);
    });
  }

  static async open(ports: readonly number[]): Promise<FrontPort> {
    const front = new FrontPort(ports);
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
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
    this.#sockets.add(upstream);
    passOn(client, upstream);
  }
}
