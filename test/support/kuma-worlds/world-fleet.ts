import { readFileSync } from 'node:fs';

import { type StopReport } from '../../../agent/stop/stop-report.pure.ts';
import { Instance, type InstanceWrapping } from '../world/fleet.ts';
import { HttpApplication } from '../world/http-application.ts';
import { LoadGenerator } from '../world/load-generator.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type KumaWorld, type Peer, type WorldDataplane } from './kuma-world.ts';
import { ObjectClient } from './object-client.ts';

export interface WorldFleetOptions extends Pick<WorldDataplane, 'drainTime' | 'lifecycle' | 'serviceProbe'> {
  /** Tells this fleet's dataplanes from those of other tests in the same world. */
  readonly service: string;
  readonly size?: number;
}

/** Instances `<service>-1`, … of one service in a world, each with its application, and one peer that calls them. */
export class WorldFleet implements AsyncDisposable {
  readonly world: KumaWorld;
  readonly objects: ObjectClient;
  readonly peer: Peer;
  readonly instances: readonly Instance[];
  readonly applications: readonly HttpApplication[];
  readonly stateDir: string;
  readonly reportFile: string;
  readonly #disposables: AsyncDisposableStack;

  private constructor(
    world: KumaWorld,
    parts: {
      readonly service: string;
      readonly peer: Peer;
      readonly instances: readonly Instance[];
      readonly applications: readonly HttpApplication[];
      readonly disposables: AsyncDisposableStack;
    },
  ) {
    this.world = world;
    this.objects = new ObjectClient(world.restUrl);
    this.peer = parts.peer;
    this.instances = parts.instances;
    this.applications = parts.applications;
    this.stateDir = world.join(`state-${parts.service}`);
    this.reportFile = world.join(`report-${parts.service}`);
    this.#disposables = parts.disposables;
  }

  static async create(world: KumaWorld, options: WorldFleetOptions): Promise<WorldFleet> {
    const { service, size = 1, ...rest } = options;
    await using disposables = new AsyncDisposableStack();
    const peer = disposables.use(await world.peer(service));
    const instances: Instance[] = [];
    const applications: HttpApplication[] = [];
    for (let number = 1; number <= size; number += 1) {
      const name = `${service}-${number}`;
      const application = disposables.use(await HttpApplication.start({ name }));
      const command = await world.dataplane({ ...rest, name, service, servicePort: application.port });
      const instance = disposables.use(new Instance(name, command));
      instances.push(instance);
      applications.push(application);
    }
    const parts = { service, peer, instances, applications };
    return new WorldFleet(world, { ...parts, disposables: disposables.move() });
  }

  /** The first instance, for fleets of one. */
  get only(): Instance {
    const [first] = this.instances;
    if (first === undefined) throw new Error('The fleet is empty');
    return first;
  }

  /** The agent in front, with this world's control plane as its endpoint and these further options. */
  agent(...more: readonly string[]): InstanceWrapping {
    const { secureRestUrl } = this.world;
    const places = ['--state-dir', this.stateDir, '--report-file', this.reportFile];
    return { agent: ['--endpoint', secureRestUrl, ...places, ...more] };
  }

  load(ratePerSecond = 100): LoadGenerator {
    return this.#disposables.use(
      new LoadGenerator({ target: { protocol: 'http1', port: this.peer.port }, ratePerSecond }),
    );
  }

  /** @returns `performance.now()` of the look that found the peer's list to be exactly these */
  untilListed(instances: readonly Instance[] = this.instances, budgetMs = 60_000): Promise<number> {
    const wanted = String(instances.map(({ command }) => command.endpoint).toSorted());
    return waitUntil(async () => String(await this.peer.endpoints()) === wanted && performance.now(), {
      what: `the peer to list ${instances.map(({ name }) => name).join(', ') || 'no dataplane'}`,
      budgetMs,
    });
  }

  /** @returns `performance.now()` when the inbound gave its first answer */
  untilServing(instance: Instance, budgetMs = 90_000): Promise<number> {
    return waitUntil(async () => (await instance.answers()) && performance.now(), {
      what: () => `${instance.name} to serve; it says: ${instance.process.stderr.slice(-3_000)}`,
      budgetMs,
    });
  }

  /** Newest last. */
  reports(): readonly StopReport[] {
    return readFileSync(this.reportFile, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as StopReport);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables.disposeAsync();
  }
}
