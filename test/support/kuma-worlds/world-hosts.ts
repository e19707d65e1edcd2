import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';

import { NetworkHosts, type NetworkHost } from '../namespaces.ts';
import { passOn } from '../pass-on.ts';
import type { DataplaneCommand } from '../world/dataplane-command.ts';
import { AGENT } from '../world/fleet.ts';
import { freePort } from '../world/free-port.ts';
import { LoadGenerator } from '../world/load-generator.ts';
import { runOn } from '../world/host-process.ts';
import type { ManagedProcess } from '../world/managed-process.ts';
import {
  APPLICATION,
  APPLICATION_PORT,
  saidBy,
  type Speaking,
  untilAcquainted,
} from '../world/network-fleet.ts';
import { losePower } from '../world/power-loss.ts';
import { SocketServer } from '../world/socket-server.ts';
import { waitUntil } from '../world/wait-until.ts';
import type { KumaWorld, Peer } from './kuma-world.ts';
import { ObjectClient } from './object-client.ts';
import { WorldCompanion } from './world-companion.ts';

const PASS_ON = join(import.meta.dirname, '..', 'pass-on.ts');

/** Passes connections on from this host's loopback to the other one, port by port: certificates name the loopback. */
const WAYS = `
  const [to, ...ports] = process.argv.slice(1);
  const net = require('node:net');
  const { passOn } = require(${JSON.stringify(PASS_ON)});
  let listening = 0;
  for (const port of ports)
    net.createServer((socket) => passOn(socket, net.connect(Number(port), to)))
      .listen(Number(port), '127.0.0.1', () => { listening += 1; if (listening === ports.length) console.log('listening'); });
`;

export interface WorldHost {
  readonly name: string;
  readonly host: NetworkHost;
  readonly command: DataplaneCommand;
  readonly process: ManagedProcess;
}

/** Instances of one service, each on a host of its own, beside a world's control plane, and one peer that calls them. */
export class WorldHosts implements AsyncDisposable {
  readonly objects: ObjectClient;
  readonly peer: Peer;
  readonly companion: WorldCompanion | undefined;
  readonly instances: WorldHost[] = [];
  readonly #disposables: AsyncDisposableStack;

  private constructor(
    world: KumaWorld,
    {
      peer,
      companion,
      disposables,
    }: Pick<WorldHosts, 'peer' | 'companion'> & { disposables: AsyncDisposableStack },
  ) {
    this.objects = new ObjectClient(world.restUrl);
    this.peer = peer;
    this.companion = companion;
    this.#disposables = disposables;
  }

  static async start(
    world: KumaWorld,
    options: { readonly service: string; readonly size: number; readonly with: 'bare' | 'companion' },
  ): Promise<WorldHosts> {
    await using opening = new AsyncDisposableStack();
    const { service, size } = options;
    const hosts = opening.use(new NetworkHosts());
    const peer = opening.use(await world.peer(service));
    const [dataplanePort = 0] = world.dataplanePorts;
    opening.use(await wayTo(hosts.address, dataplanePort));
    const listen = `${hosts.address}:${await freePort()}`;
    const companion =
      options.with === 'bare' ? undefined : opening.use(await WorldCompanion.start(world, { listen }));
    const made = new WorldHosts(world, { peer, companion, disposables: opening.move() });
    for (let number = 1; number <= size; number += 1)
      made.instances.push(await made.#add({ world, hosts, service, name: `${service}-${number}` }));
    await made.untilListed(made.instances);
    await untilAcquainted(made.#speaking);
    return made;
  }

  load(ratePerSecond = 100): LoadGenerator {
    return this.#disposables.use(
      new LoadGenerator({ target: { protocol: 'http1', port: this.peer.port }, ratePerSecond }),
    );
  }

  /** @returns `performance.now()` of the look that found the peer's list to be exactly these */
  untilListed(instances: readonly WorldHost[], budgetMs = 90_000): Promise<number> {
    const wanted = String(instances.map(({ command }) => command.endpoint).toSorted());
    return waitUntil(async () => String(await this.peer.endpoints()) === wanted && performance.now(), {
      what: () => `the peer to list ${instances.map(({ name }) => name).join(', ')}; ${this.said}`,
      budgetMs,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process: one } of this.instances) if (one.running) await losePower(one);
    await this.#disposables[Symbol.asyncDispose]();
  }

  /** What the processes said, for the message of a test that failed. */
  get said(): string {
    return saidBy(this.#speaking);
  }

  get #speaking(): Speaking {
    return { companion: this.companion?.process, instances: this.instances };
  }

  async #add(given: {
    readonly world: KumaWorld;
    readonly hosts: NetworkHosts;
    readonly service: string;
    readonly name: string;
  }): Promise<WorldHost> {
    const { world, hosts, service, name } = given;
    const host = hosts.add();
    const companionPort = this.companion?.process.port;
    const ports = [world.dataplanePorts[0], companionPort].filter((port) => port !== undefined).map(String);
    for (const script of [
      [APPLICATION, name],
      [WAYS, hosts.address, ...ports],
    ]) {
      const running = this.#disposables.use(runOn(host, [process.execPath, '--eval', ...script]));
      await running.waitForOutput('listening');
    }
    const command = await world.dataplane({
      name,
      service,
      servicePort: APPLICATION_PORT,
      address: host.address,
    });
    const kumaDp = [command.command, ...command.argv];
    const endpoint = `grpcs://127.0.0.1:${companionPort ?? ''}`;
    const agent = [AGENT, 'run', '--endpoint', endpoint, '--state-dir', world.join(`state-${name}`), '--'];
    const argv = companionPort === undefined ? kumaDp : [...agent, ...kumaDp];
    return { name, host, command, process: runOn(host, argv, command.env) };
  }
}

/** From `address` to the same port of loopback, unless what listens there listens everywhere. */
async function wayTo(address: string, port: number): Promise<AsyncDisposable> {
  const server = createServer((socket) => {
    passOn(socket, connect(port, '127.0.0.1'));
  });
  const way = new SocketServer(server, { host: address, port });
  try {
    await way.listen();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
  }
  return way;
}
