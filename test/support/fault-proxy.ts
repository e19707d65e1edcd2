import { connect, createServer, type Socket } from 'node:net';

import { SocketServer } from './world/socket-server.ts';

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

/** A TCP proxy on loopback that applies a fault from the moment a test says so. */
export class FaultProxy implements AsyncDisposable {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #server: SocketServer;
  #mode: FaultMode = { kind: 'pass' };
  #accepted = 0;

  private constructor(target: URL) {
    this.#target = { host: target.hostname, port: Number(target.port) };
    const server = createServer({ pauseOnConnect: true }, (near) => {
      this.#accept(near);
    });
    this.#server = new SocketServer(server);
  }

  /** @param target `http://127.0.0.1:5681`: where connections go */
  static async start(target: string, mode: FaultMode = { kind: 'pass' }): Promise<FaultProxy> {
    const proxy = new FaultProxy(new URL(target));
    await proxy.#server.listen();
    await proxy.become(mode);
    return proxy;
  }

  get port(): number {
    return this.#server.port;
  }

  /** How many connections were accepted so far. */
  get accepted(): number {
    return this.#accepted;
  }

  url(scheme: 'http' | 'https' = 'http'): string {
    return `${scheme}://127.0.0.1:${this.port}`;
  }

  /** Changes the fault from now on. */
  async become(mode: FaultMode): Promise<void> {
    this.#mode = mode;
    if (mode.kind === 'refuse') await this.#server.close();
    else await this.#server.listen();
    if (mode.kind === 'reset') this.#server.cut();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#server.close();
  }

  #accept(near: Socket): void {
    this.#accepted += 1;
    if (this.#mode.kind === 'reset') {
      near.resetAndDestroy();
      return;
    }
    const far = this.#mode.kind === 'silence' ? undefined : connect(this.#target);
    if (far === undefined) return;
    near.once('close', () => far.destroy());
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
}
