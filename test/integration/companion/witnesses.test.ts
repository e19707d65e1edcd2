import { randomUUID } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { lookByTcp } from '../../../kernel/tcp-look.ts';
import { tcpConnect } from '../../../program/tcp-connect.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { Owner, Testimony_Result, type Look } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from '../../support/attached-client.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const PORT = 18_080;
const RESULTS = {
  reached: Testimony_Result.REACHED,
  refused: Testimony_Result.REFUSED,
  silent: Testimony_Result.SILENT,
  unable: Testimony_Result.UNABLE,
} as const;

/** A host at a loopback address of its own: its port, and the way of its agent to the companion. */
class LoopbackHost implements AsyncDisposable {
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

  /** @returns where its agent dials, so that the companion sees it come from here */
  async way(companion: string): Promise<string> {
    const [host = '', port = ''] = companion.split(':');
    const server = await this.#listen(0, (socket) => {
      const onward = connect({ host, port: Number(port), localAddress: this.address });
      for (const [from, to] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => to.destroy());
      }
    });
    const { port: own } = server.address() as { readonly port: number };
    return `${this.address}:${own}`;
  }

  /** Everything on it is killed at once: its kernel refuses from now on. */
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

let world: CompanionWorld;
const hosts: LoopbackHost[] = [];

beforeAll(async () => {
  world = await CompanionWorld.start({
    companion: { grace: '60s', argv: ['--witness-networks', '127.0.0.0/8'] },
  });
});

afterAll(async () => {
  for (const host of hosts) await host[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

function resourceOf(name: string, address: string) {
  const inbound = [{ port: PORT, state: 'Ready', tags: { 'kuma.io/service': 'web' } }];
  return { type: 'Dataplane', mesh: 'default', name, networking: { address, inbound } };
}

/** An agent that looks as real ones do, on a host of its own. */
async function start(name: string, host: LoopbackHost, incarnation = randomUUID()): Promise<AttachedClient> {
  const resource = resourceOf(name, host.address);
  const agent = world.agent(name, {
    address: await host.way(world.companion.address),
    incarnation,
    resource,
    hello: { owner: Owner.AGENT, looks: true, phase: 'running' },
  });
  agent.onLook = (look) => void answer(agent, look);
  await agent.attach();
  await agent.register(true, resource);
  world.connect(name);
  agent.phase('running', true);
  return agent;
}

async function answer(agent: AttachedClient, { id, targets, control, closedPort }: Look): Promise<void> {
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

const stateOf = (name: string): unknown => {
  const networking = world.find(name)?.spec['networking'] as {
    readonly inbound: readonly { state?: string }[];
  };
  return networking.inbound[0]?.state ?? 'Ready';
};

test('a host that is killed is out of rotation although its stream at the control plane looks alive, and back when its agent is', async () => {
  const incarnation = randomUUID();
  for (const [at, name] of ['web-1', 'web-2', 'web-3', 'web-4'].entries()) {
    const host = new LoopbackHost(`127.0.77.${at + 1}`);
    hosts.push(host);
    await host.serve();
    await start(name, host, at === 0 ? incarnation : undefined);
  }
  await waitUntil(async () => (await world.metric('testimonies_total{result="reached"}')) >= 9, {
    what: 'every dataplane to have three acquaintances',
  });
  const [lost] = hosts;
  lost?.kill();
  await waitUntil(() => stateOf('web-1') === 'NotReady', { what: 'the lost host to be out of rotation' });
  expect(['web-2', 'web-3', 'web-4'].map(stateOf)).toEqual(['Ready', 'Ready', 'Ready']);
  expect(await world.metric('sidelined')).toBe(1);
  const again = new LoopbackHost('127.0.77.1');
  hosts.push(again);
  await again.serve();
  await start('web-1', again, incarnation);
  await waitUntil(() => stateOf('web-1') === 'Ready', { what: 'the host to be back' });
  await waitUntil(async () => (await world.metric('sidelined')) === 0, { what: 'the record to be released' });
});
