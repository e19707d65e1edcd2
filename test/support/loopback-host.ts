import { connect, createServer, type Socket } from 'node:net';

import { systemClock } from '../../kernel/clock.ts';
import { lookByTcp } from '../../kernel/tcp-look.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';
import { Testimony_Result, type Look } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from './attached-client.ts';
import { passOn } from './pass-on.ts';
import { SocketServer } from './world/socket-server.ts';

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
  readonly #servers: SocketServer[] = [];

  constructor(address: string) {
    this.address = address;
  }

  async serve(): Promise<void> {
    await this.#listen(PORT, () => undefined);
  }

  /** @returns the address that its agent dials, so that the companion sees this host as the source */
  async way(companion: string): Promise<string> {
    const [host = '', port = ''] = companion.split(':');
    const server = await this.#listen(0, (socket) => {
      const onward = connect({ host, port: Number(port), localAddress: this.address });
      passOn(socket, onward);
    });
    return `${this.address}:${server.port}`;
  }

  /** Kills everything on it at once: its kernel refuses connections from then on. */
  async kill(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  async #listen(port: number, take: (socket: Socket) => void): Promise<SocketServer> {
    const server = await SocketServer.start(createServer(take), { host: this.address, port });
    this.#servers.push(server);
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
