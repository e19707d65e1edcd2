import { setTimeout as delay } from 'node:timers/promises';

import { formatDuration } from '../../../kernel/duration.ts';
import { type KumaWorld, type KumaZones } from '../kuma-worlds/kuma-world.ts';
import { ObjectClient } from '../kuma-worlds/object-client.ts';
import { type KumaUnderTest } from '../kuma-worlds/worlds.ts';
import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { Instance } from '../world/fleet.ts';
import { freePort } from '../world/free-port.ts';
import { HttpApplication } from '../world/http-application.ts';
import { waitUntil } from '../world/wait-until.ts';
import { Balancer, type BalancerTarget } from './balancer.ts';
import { type LaneKind, type Tempo } from './scenario.ts';
import { endpointsAt, untilAccepting } from './surroundings.ts';
import { startUsers } from './users.ts';
import { type Comparison, type StopCost } from './verdict.ts';
import { type ZoneScenario } from './zone-scenario.ts';

const SERVICE = 'backend';
const KNOWN_BUDGET_MS = 60_000;
/** The longest that zones need to tell each other, and more. */
const AFTERMATH_MS = 10_000;
const PATIENCE_MS = 30_000;

/** A place for one of two that can be replaced: its port, and where it is reached. */
interface Place {
  readonly port: number;
  readonly advertisedPort: number;
  readonly readinessPort: number;
  /** In front of both. */
  readonly balancer: Balancer | undefined;
}

/**
 * Two zones in which one dataplane or zone proxy stops, alone and with the agent, one after the other. A zone shows
 * all its dataplanes to another as one, so two stops at once could not be told apart.
 */
export class ZoneComparison implements AsyncDisposable {
  readonly #scenario: ZoneScenario;
  readonly #tempo: Tempo;
  readonly #zones: KumaZones;
  readonly #clientPort: number;
  readonly #client: Instance;
  readonly #place: Place;
  readonly #applicationPort: number;
  readonly #disposables: AsyncDisposableStack;

  private constructor(parts: {
    readonly scenario: ZoneScenario;
    readonly tempo: Tempo;
    readonly zones: KumaZones;
    readonly clientPort: number;
    readonly client: Instance;
    readonly place: Place;
    readonly applicationPort: number;
    readonly disposables: AsyncDisposableStack;
  }) {
    this.#scenario = parts.scenario;
    this.#tempo = parts.tempo;
    this.#zones = parts.zones;
    this.#clientPort = parts.clientPort;
    this.#client = parts.client;
    this.#place = parts.place;
    this.#applicationPort = parts.applicationPort;
    this.#disposables = parts.disposables;
  }

  static async open(kuma: KumaUnderTest, scenario: ZoneScenario, tempo: Tempo): Promise<ZoneComparison> {
    await using opening = new AsyncDisposableStack();
    const fresh = scenario.use.kind === 'requests' && scenario.use.fresh === true;
    const zones = opening.use(
      await kuma.createZones({
        protocols: { [SERVICE]: 'http' },
        zoneEgress: scenario.subject === 'zone egress',
        ...(kuma.real ? {} : { deregistrationDelayMs: 5_000 }),
        ...(fresh ? { idleTimeouts: { [SERVICE]: 100 } } : {}),
      }),
    );
    const application = opening.use(await HttpApplication.start({ name: 'in-zone-2' }));
    const { subject } = scenario;
    const place = await placeOf(scenario, tempo, opening);
    const begin = async (command: Promise<DataplaneCommand>): Promise<Instance> => {
      const instance = opening.use(new Instance('stays', await command));
      instance.start('bare');
      await untilAccepting(instance.command.inboundPort, instance);
      return instance;
    };
    if (subject === 'last of its service') {
      const here = opening.use(await HttpApplication.start({ name: 'in-zone-1' }));
      await begin(backend(zones.one, { name: 'stays', servicePort: here.port }));
    } else {
      await begin(backend(zones.two, { name: 'stays', servicePort: application.port }));
    }
    const { command: ingress } = await begin(
      zones.two.zoneProxy({
        name: 'ingress',
        kind: 'ingress',
        services: [SERVICE],
        port: await freePort(),
        ...(scenario.balanced === undefined ? {} : { advertisedPort: place.advertisedPort }),
      }),
    );
    place.balancer?.add({
      host: '127.0.0.1',
      port: ingress.inboundPort,
      readinessPort: ingress.readinessPort,
    });
    if (subject === 'zone egress') {
      const port = await freePort();
      await begin(zones.one.zoneProxy({ name: 'egress', kind: 'egress', services: [SERVICE], port }));
    }
    const clientPort = await freePort();
    const client = await begin(
      zones.one.dataplane({
        name: 'client',
        service: 'client',
        servicePort: application.port,
        outbounds: [{ service: SERVICE, port: clientPort }],
      }),
    );
    const applicationPort = application.port;
    const parts = { scenario, tempo, zones, clientPort, client, place, applicationPort };
    return new ZoneComparison({ ...parts, disposables: opening.move() });
  }

  async run(): Promise<Comparison> {
    const bare = await this.#stop('bare');
    return { bare, agent: await this.#stop('agent') };
  }

  async #stop(lane: LaneKind): Promise<StopCost> {
    await using disposables = new AsyncDisposableStack();
    const instance = disposables.use(new Instance(lane, await this.#command(lane)));
    const { world } = this;
    const places = [
      '--state-dir',
      world.join(`state-${lane}`),
      '--report-file',
      world.join(`report-${lane}`),
    ];
    instance.start(lane === 'bare' ? 'bare' : { agent: ['--endpoint', world.secureRestUrl, ...places] });
    await untilAccepting(instance.command.inboundPort, instance);
    await this.#place.balancer?.untilReady();
    await this.#untilKnown(true, lane);
    const users = disposables.use(
      startUsers(this.#scenario.use, { protocol: 'http1', port: this.#clientPort }),
    );
    await users.ready(
      this.#scenario.subject === 'last of its service'
        ? ({ byInstance }) => (byInstance['in-zone-2'] ?? 0) > 0
        : undefined,
    );
    const stoppedAtMs = performance.now();
    instance.process.signal('SIGTERM');
    const budgetMs = this.#tempo.drainMs + PATIENCE_MS;
    await waitUntil(() => !instance.process.running, { what: `${lane} to end`, budgetMs });
    const { atMs } = await instance.process.exited;
    await delay(AFTERMATH_MS);
    await users.stop();
    await new ObjectClient(world.restUrl).call(this.#path(lane), { method: 'DELETE' });
    await this.#untilKnown(false, lane);
    const { sent, failed, byFailure } = users.summary;
    return { sent, failed, byFailure, cutMs: undefined, exitMs: atMs - stoppedAtMs };
  }

  /** Where what stops belongs to. */
  get world(): KumaWorld {
    return this.#scenario.subject === 'zone egress' ? this.#zones.one : this.#zones.two;
  }

  #command(name: string): Promise<DataplaneCommand> {
    const { subject } = this.#scenario;
    const drainTime = formatDuration(this.#tempo.drainMs);
    if (subject === 'last of its service') {
      return backend(this.world, { name, servicePort: this.#applicationPort, drainTime });
    }
    const kind = subject === 'zone ingress' ? 'ingress' : 'egress';
    const { port, advertisedPort, readinessPort } = this.#place;
    return this.world
      .zoneProxy({ name, kind, services: [SERVICE], drainTime, port, advertisedPort })
      .then((command) => withReadinessPort(command, readinessPort));
  }

  #path(name: string): string {
    const paths = {
      'last of its service': `/meshes/default/dataplanes/${name}`,
      'zone ingress': `/zoneingresses/${name}`,
      'zone egress': `/zoneegresses/${name}`,
    };
    return paths[this.#scenario.subject];
  }

  /** The client's Envoy knows a stop only from its endpoints; behind one address they do not change. */
  async #untilKnown(present: boolean, lane: LaneKind): Promise<void> {
    const count = this.#scenario.balanced === undefined && present ? 2 : 1;
    await waitUntil(
      async () => {
        const endpoints = await endpointsAt(this.#client, SERVICE);
        return endpoints.length === count && (!present || (await this.#answers()));
      },
      { what: `the client to know ${lane}: ${present}`, budgetMs: KNOWN_BUDGET_MS, pollMs: 100 },
    );
  }

  async #answers(): Promise<boolean> {
    const response = await fetch(`http://127.0.0.1:${this.#clientPort}/`, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(2_000),
    });
    await response.arrayBuffer();
    return response.ok;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables.disposeAsync();
  }
}

async function placeOf(
  { balanced }: ZoneScenario,
  { balancerIntervalMs }: Tempo,
  disposables: AsyncDisposableStack,
): Promise<Place> {
  const port = await freePort();
  const readinessPort = await freePort();
  if (balanced === undefined) return { port, readinessPort, advertisedPort: port, balancer: undefined };
  const targets: BalancerTarget[] = [{ host: '127.0.0.1', port, readinessPort }];
  const balancer = disposables.use(await Balancer.start({ targets, intervalMs: balancerIntervalMs }));
  return { port, readinessPort, advertisedPort: balancer.port, balancer };
}

function backend(
  world: KumaWorld,
  dataplane: { readonly name: string; readonly servicePort: number; readonly drainTime?: string },
): Promise<DataplaneCommand> {
  return world.dataplane({ ...dataplane, service: SERVICE });
}

function withReadinessPort(command: DataplaneCommand, port: number): DataplaneCommand {
  return { ...command, readinessPort: port, env: { ...command.env, KUMA_READINESS_PORT: String(port) } };
}
