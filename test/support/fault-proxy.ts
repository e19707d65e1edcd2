import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * The fate of connections, existing ones included. `silence`: accepted and kept, but without traffic in either
 * direction. `reset`: existing ones are reset, new ones right after they were accepted. `refuse`: existing ones are
 * reset, and no process listens. `drop-answers`: requests pass, answers do not; instead of an answer the connection
 * is reset.
 */
export type FaultMode =
  | { readonly kind: 'pass' | 'silence' | 'reset' | 'refuse' | 'drop-answers' }
  /** Delays each chunk, in both directions. */
  | { readonly kind: 'delay'; readonly delayMs: number };

interface Link {
  readonly near: Socket;
  readonly far: Socket | undefined;
}

/** A TCP proxy on loopback that applies a fault from the moment a test says so. */
export class FaultProxy implements AsyncDisposable {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #links = new Set<Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #server: Server | undefined;
  #mode: FaultMode = { kind: 'pass' };
  #port = 0;
  #accepted = 0;

  private constructor(target: URL) {
    this.#target = { host: target.hostname, port: Number(target.port) };
  }

  /** @param target `http://127.0.0.1:5681`: where connections go */
  static async start(target: string, mode: FaultMode = { kind: 'pass' }): Promise<FaultProxy> {
    const proxy = new FaultProxy(new URL(target));
    await proxy.#listen();
    await proxy.become(mode);
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  /** How many connections were accepted so far. */
  get accepted(): number {
    return this.#accepted;
  }

  url(scheme: 'http' | 'https' = 'http'): string {
    return `${scheme}://127.0.0.1:${this.#port}`;
  }

  /** Changes the fault from now on. */
  async become(mode: FaultMode): Promise<void> {
    this.#mode = mode;
    if (mode.kind === 'refuse') await this.#stopListening();
    else await this.#listen();
    if (mode.kind === 'reset' || mode.kind === 'refuse') this.#cut();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#stopListening();
    this.#cut();
  }

  #listen(): Promise<void> {
    if (this.#server !== undefined) return Promise.resolve();
    const server = createServer({ pauseOnConnect: true }, (near) => {
      this.#accept(near);
    });
    this.#server = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', () => {
        const address = server.address();
        if (address !== null && typeof address === 'object') this.#port = address.port;
        resolve();
      });
    });
  }

  #stopListening(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    return new Promise((resolve) => {
      if (server === undefined) resolve();
      else {
        server.close(() => {
          resolve();
        });
        this.#cut();
      }
    });
  }

  #accept(near: Socket): void {
    this.#accepted += 1;
    // A peer that goes away is the subject of the test.
    near.on('error', () => {});
    if (this.#mode.kind === 'reset') {
      near.resetAndDestroy();
      return;
    }
    const far = this.#mode.kind === 'silence' ? undefined : connect(this.#target);
    const link: Link = { near, far };
    this.#links.add(link);
    near.once('close', () => {
      far?.destroy();
      this.#links.delete(link);
    });
    if (far === undefined) return;
    far.on('error', () => near.resetAndDestroy());
    far.once('close', () => near.destroy());
    near.on('data', (chunk: Buffer) => {
      this.#forward(chunk, far);
    });
    far.on('data', (chunk: Buffer) => {
      if (this.#mode.kind === 'drop-answers') near.resetAndDestroy();
      else this.#forward(chunk, near);
    });
    near.resume();
  }

  #forward(chunk: Buffer, to: Socket): void {
    if (this.#mode.kind === 'silence') return;
    if (this.#mode.kind !== 'delay') {
      to.write(chunk);
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!to.destroyed) to.write(chunk);
    }, this.#mode.delayMs);
    this.#timers.add(timer);
  }

  #cut(): void {
    for (const { near, far } of this.#links) {
      near.resetAndDestroy();
      far?.destroy();
    }
    this.#links.clear();
  }
}
