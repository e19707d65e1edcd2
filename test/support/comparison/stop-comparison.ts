import { setTimeout as delay } from 'node:timers/promises';

import { type KumaWorld, type Protocol, type WorldOutbound } from '../kuma-worlds/kuma-world.ts';
import { type KumaUnderTest } from '../kuma-worlds/worlds.ts';
import { Instance } from '../world/fleet.ts';
import { freePort } from '../world/free-port.ts';
import { startApplication } from './applications.ts';
import { FrontPort } from './front-port.ts';
import {
  callsThroughPeer,
  isCalling,
  type LaneKind,
  laneName,
  LANES,
  type StopScenario,
  type Tempo,
} from './scenario.ts';
import { StopLane } from './stop-lane.ts';
import { type LaneSurroundings, untilAccepting } from './surroundings.ts';
import { type Comparison, type StopCost } from './verdict.ts';

const PROTOCOLS: readonly Protocol[] = ['http', 'http2', 'grpc', 'tcp'];
/** Added to kuma-dp's drain time, it ends a stop that does not end by itself. */
const PATIENCE_MS = 30_000;
/** Peers continue after the last stop, so that their stale knowledge shows. */
const AFTERMATH_MS = 2_500;
/** How much earlier an application ends than its dataplane if its unit is ordered after it. */
const HEAD_START_MS = 2_000;
const IDLE_TIMEOUT_MS = 100;

interface Numbered {
  readonly id: string;
  readonly scenario: StopScenario;
}

/**
 * A world with everything that all scenarios of one file share: a dataplane that stays, with one more instance of
 * each lane's service and a backend for each protocol, and a peer that calls them.
 */
export class StopComparison implements AsyncDisposable {
  readonly #numbered: readonly Numbered[];
  readonly #surroundings: LaneSurroundings;
  readonly #disposables: AsyncDisposableStack;

  private constructor(
    numbered: readonly Numbered[],
    surroundings: LaneSurroundings,
    disposables: AsyncDisposableStack,
  ) {
    this.#numbered = numbered;
    this.#surroundings = surroundings;
    this.#disposables = disposables;
  }

  static async open(
    kuma: KumaUnderTest,
    scenarios: readonly StopScenario[],
    tempo: Tempo,
  ): Promise<StopComparison> {
    const numbered = scenarios.map((scenario, index) => ({ id: `c${index + 1}`, scenario }));
    const services = numbered.flatMap(({ id, scenario }) =>
      LANES.map((lane) => ({ service: laneName(id, lane), protocol: scenario.protocol, scenario })),
    );
    const gatewayPorts = new Map<string, number>();
    for (const { service, scenario } of services) {
      if (scenario.subject === 'builtin gateway') gatewayPorts.set(service, await freePort());
    }
    await using disposables = new AsyncDisposableStack();
    const world = disposables.use(
      await kuma.create({
        defaultTiming: true,
        controlPlanes: Math.max(...scenarios.map(({ controlPlanes = 1 }) => controlPlanes)),
        gateways: [...gatewayPorts].map(([service, port]) => {
          return { name: service, service, port, backend: 'backend-http' };
        }),
        idleTimeouts: Object.fromEntries(services.flatMap(({ service }) => [[service, IDLE_TIMEOUT_MS]])),
      }),
    );
    const called = services.filter(({ scenario }) => callsThroughPeer(scenario));
    disposables.use(await startStaying(world, called));
    const outbounds: WorldOutbound[] = [];
    for (const { service } of [
      ...(scenarios.some(({ balanced }) => balanced) ? [{ service: 'backend-http' }] : []),
      ...called,
    ])
      outbounds.push({ service, port: await freePort() });
    const peer = outbounds.length === 0 ? undefined : disposables.use(await startPeer(world, outbounds));
    const [first, ...others] = world.dataplanePorts;
    const front =
      others.length === 0 ? undefined : disposables.use(await FrontPort.open([first ?? 0, ...others]));
    const surroundings: LaneSurroundings = {
      world,
      tempo,
      peer: () => known(peer, 'the peer'),
      peerPort: (service) => known(outbounds.find((one) => one.service === service)?.port, service),
      frontPort: front?.port,
      gatewayPort: (service) => known(gatewayPorts.get(service), service),
    };
    return new StopComparison(numbered, surroundings, disposables.move());
  }

  /** Runs both lanes at once, with the same users and the stop at the same moment. */
  async run(scenario: StopScenario): Promise<Comparison> {
    const { id } = known(
      this.#numbered.find((one) => one.scenario === scenario),
      scenario.title,
    );
    const { world, tempo } = this.#surroundings;
    await using opened = new AsyncDisposableStack();
    const open = async (lane: LaneKind): Promise<StopLane> =>
      opened.use(await StopLane.open(this.#surroundings, { scenario, lane, id }));
    const lanes = await Promise.all(LANES.map(open));
    const each = (act: (lane: StopLane) => unknown): Promise<unknown> => Promise.all(lanes.map(act));
    await each((lane) => lane.use());

    if (scenario.applicationEnds === 'before') {
      await each((lane) => lane.endApplication());
      await delay(HEAD_START_MS);
    }
    const stoppedAtMs = performance.now();
    for (const lane of lanes) lane.signal();
    const fault = scenario.fault?.atStop(world, tempo);
    const limitMs = tempo.drainMs + PATIENCE_MS;
    const exits = each((lane) => lane.untilExited(limitMs));
    if (scenario.applicationEnds !== 'before' && isCalling(scenario)) {
      await delay(scenario.applicationEnds === 'with' ? 0 : tempo.goesOnMs);
      await each((lane) => lane.endApplication());
    }
    await exits;
    await fault;
    await scenario.fault?.after?.(world);
    if (!isCalling(scenario)) await delay(AFTERMATH_MS);
    await each((lane) => lane.endApplication());
    const [bare, agent] = lanes.map((lane) => lane.outcome(stoppedAtMs)) as [StopCost, StopCost];
    return { bare, agent };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables.disposeAsync();
  }
}

async function startStaying(
  world: KumaWorld,
  services: readonly { readonly service: string; readonly protocol: Protocol }[],
): Promise<AsyncDisposable> {
  await using disposables = new AsyncDisposableStack();
  const ports = new Map<Protocol, number>();
  for (const protocol of PROTOCOLS) {
    const application = disposables.use(await startApplication(protocol, { name: 'stays' }));
    ports.set(protocol, application.port);
  }
  const backends = PROTOCOLS.map((protocol) => ({ service: `backend-${protocol}`, protocol }));
  const inbounds = [...backends, ...services].map(({ service, protocol }) => ({
    service,
    protocol,
    servicePort: ports.get(protocol) ?? 0,
  }));
  const command = await world.dataplane({ name: 'stays', service: 'stays', servicePort: 0, inbounds });
  const instance = disposables.use(new Instance('stays', command));
  instance.start('bare');
  await untilAccepting(instance.command.inboundPort, instance);
  return disposables.move();
}

/** With two control planes, the peer connects to the second. */
async function startPeer(world: KumaWorld, outbounds: readonly WorldOutbound[]): Promise<Instance> {
  const controlPlane = world.dataplanePorts.length - 1;
  const inbounds = [{ service: 'peer', servicePort: 1 }];
  const command = await world.dataplane({
    name: 'peer',
    service: 'peer',
    servicePort: 1,
    inbounds,
    outbounds,
    controlPlane,
  });
  const peer = new Instance('peer', command);
  peer.start('bare');
  await untilAccepting(peer.command.inboundPort, peer);
  return peer;
}

function known<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`Not of this comparison: ${what}`);
  return value;
}
