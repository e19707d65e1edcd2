import { connect, createServer, type Server, type Socket } from 'node:net';

import { systemClock } from '../../kernel/clock.ts';
import { lookByTcp } from '../../kernel/tcp-look.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';
import { Testimony_Result, type Look } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from './attached-client.ts';
import { passOn } from './pass-on.ts';

/** Where each of these hosts serves. */
export const PORT = 18_080;
const RESULTS = {
  reached: Testimony_Result.REACHED,
  refused: Testimony_Result.REFUSED,
  silent: Testimony_Result.SILENT,
  unable: Testimony_Result.UNABLE,
} as const;

/** A host at a loopback address of its own: its port, and its agent's connection to the companion. */
export class LoopbackHost implements AsyncDisposable {
  readonly address: string;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(address: string) {
    this.address = address;
  }

  async serve(): Promise<void> {
    await this.#listen(PORT, (socket) => {
      socket.on('error', () => undefined);
    });
  }

  /** @returns the address that its agent dials, so that the companion sees this host as the source */
  async way(companion: string): Promise<string> {
    const [host = '', port = ''] = companion.split(':');
    const server = await this.#listen(0, (socket) => {
      const onward = connect({ host, port: Number(port), localAddress: this.address });
      passOn(socket, onward);
    });
    const { port: own } = server.address() as { readonly port: number };
    return `${this.address}:${own}`;
  }

  /** Kills everything on it at once: its kernel refuses connections from then on. */
  kill(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await Promise.resolve();
  }

  async #listen(port: number, take: (socket: Socket) => void): Promise<Server> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      take(socket);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, this.address, resolve);
    });
    return server;
  }
}

/** Looks as a real agent does, but at loopback. */
export async function answer(
  agent: AttachedClient,
  { id, targets, control, closedPort }: Look,
): Promise<void> {
  const deps = { clock: systemClock, connect: tcpConnect };
  const findings = await lookByTcp(deps, { targets, control, closedPort }, new AbortController().signal);
  agent.say({
    $case: 'testimony',
    value: {
      id,
      findings: findings.map(({ result, reason }, at) => ({
        target: targets[at],
        result: RESULTS[result],
        reason,
      })),
    },
  });
}
