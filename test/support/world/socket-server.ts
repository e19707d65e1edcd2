import { type Server, type Socket } from 'node:net';

interface Address {
  readonly host?: string | undefined;
  /** 0: any free one. */
  readonly port?: number | undefined;
}

/** A listening server that can stop and start listening on the same port, and cut what is connected. */
export class SocketServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #host: string;
  #port: number;

  constructor(server: Server, { host = '127.0.0.1', port = 0 }: Address = {}) {
    this.#server = server;
    this.#host = host;
    this.#port = port;
    server.on('connection', (socket: Socket) => {
      this.track(socket);
    });
  }

  /** @throws Error if the port is taken */
  static async start(server: Server, address?: Address): Promise<SocketServer> {
    const listening = new SocketServer(server, address);
    await listening.listen();
    return listening;
  }

  get port(): number {
    return this.#port;
  }

  /** How many sockets are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Cuts this socket together with the accepted ones, and ignores the error when a peer goes away. */
  track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  listen(): Promise<void> {
    if (this.#server.listening) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, this.#host, () => {
        this.#server.off('error', reject);
        const address = this.#server.address();
        if (address !== null && typeof address === 'object') this.#port = address.port;
        resolve();
      });
    });
  }

  /** Stops listening, and resets the open connections. */
  async close(): Promise<void> {
    const closed = this.#stopListening();
    this.cut();
    await closed;
  }

  /** Resets what is connected. */
  cut(): void {
    for (const socket of this.#sockets) {
      if (socket.readyState === 'open') socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  /** As {@link close}, but connections end without a reset. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#stopListening();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #stopListening(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }
}
