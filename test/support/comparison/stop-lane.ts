import { formatDuration } from '../../../kernel/duration.ts';
import { Instance, type InstanceWrapping } from '../world/fleet.ts';
import { freePort } from '../world/free-port.ts';
import { type LoadTarget } from '../world/load-requests.ts';
import { type ProcessExit } from '../world/managed-process.ts';
import { losePower } from '../world/power-loss.ts';
import { waitUntil } from '../world/wait-until.ts';
import { CLIENT_PROTOCOL, startApplication } from './applications.ts';
import { Balancer } from './balancer.ts';
import { callsThroughPeer, isCalling, type LaneKind, laneName, type StopScenario } from './scenario.ts';
import { endpointsAt, type LaneSurroundings, untilAccepting } from './surroundings.ts';
import { startUsers, type Users } from './users.ts';
import { type StopCost } from './verdict.ts';

export interface LaneOptions {
  readonly scenario: StopScenario;
  readonly lane: LaneKind;
  readonly id: string;
}

interface Parts {
  readonly scenario: StopScenario;
  readonly instance: Instance;
  readonly application: AsyncDisposable;
  readonly target: LoadTarget;
  readonly disposables: AsyncDisposableStack;
}

/** One dataplane of a comparison with its application and its clients. */
export class StopLane implements AsyncDisposable {
  readonly #scenario: StopScenario;
  readonly #instance: Instance;
  readonly #application: AsyncDisposable;
  readonly #target: LoadTarget;
  readonly #disposables: AsyncDisposableStack;
  #users: Users | undefined;
  #exit: ProcessExit | undefined;
  #endApplication: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#scenario = parts.scenario;
    this.#instance = parts.instance;
    this.#application = parts.application;
    this.#target = parts.target;
    this.#disposables = parts.disposables;
  }

  /** Starts the dataplane and waits until it serves and, where peers call it, until they know. */
  static async open(surroundings: LaneSurroundings, options: LaneOptions): Promise<StopLane> {
    const { scenario, lane, id } = options;
    const { world, tempo, frontPort } = surroundings;
    const service = laneName(id, lane);
    await using disposables = new AsyncDisposableStack();
    const { protocol, subject } = scenario;
    const application = await startApplication(protocol, { name: service });
    const outbound = { service: `backend-${protocol}`, port: await freePort() };
    const command = await world.dataplane({
      name: service,
      service,
      servicePort: application.port,
      inbounds: [{ service, protocol, servicePort: application.port }],
      drainTime: formatDuration(tempo.drainMs),
      ...(isCalling(scenario) ? { outbounds: [outbound] } : {}),
      ...(subject === 'delegated gateway' ? { gateway: 'DELEGATED' } : {}),
      ...(subject === 'builtin gateway' ? { gateway: 'BUILTIN' } : {}),
      ...(frontPort === undefined ? {} : { controlPlanePort: frontPort }),
    });
    const instance = disposables.use(new Instance(service, command));
    instance.start(wrapping(surroundings, options, service));
    const target = await targetOf(surroundings, { scenario, instance, outboundPort: outbound.port });
    if ('balancer' in target) disposables.use(target.balancer);
    return new StopLane({ scenario, instance, application, target, disposables: disposables.move() });
  }

  /** Brings the users, and waits until they are served. */
  async use(): Promise<void> {
    const users = this.#disposables.use(startUsers(this.#scenario.use, this.#target));
    this.#users = users;
    const { subject, use } = this.#scenario;
    const byItself = subject === 'service' && use.kind === 'requests';
    await users.ready(byItself ? ({ byInstance }) => (byInstance[this.#instance.name] ?? 0) > 0 : undefined);
  }

  signal(): void {
    this.#instance.process.signal('SIGTERM');
    const { killedAfterMs } = this.#scenario;
    if (killedAfterMs === undefined) return;
    setTimeout(() => void losePower(this.#instance.process), killedAfterMs).unref();
  }

  /** @throws Error if it has not ended by then */
  async untilExited(limitMs: number): Promise<void> {
    const { process: running, name } = this.#instance;
    const exited = running.exited.then((exit) => (this.#exit = exit));
    await Promise.race([
      exited,
      waitUntil(() => this.#exit !== undefined, { what: `${name} to end`, budgetMs: limitMs, pollMs: 100 }),
    ]);
  }

  /** The application begins nothing new, finishes what it began, and is gone. Once. */
  endApplication(): Promise<void> {
    this.#endApplication ??= (async () => {
      await this.#users?.stop();
      await this.#application[Symbol.asyncDispose]();
    })();
    return this.#endApplication;
  }

  outcome(stoppedAtMs: number): StopCost {
    const users = this.#users;
    if (users === undefined || this.#exit === undefined) throw new Error('It did not stop');
    const { sent, failed, byFailure } = users.summary;
    const { cutAtMs } = users;
    return {
      sent,
      failed,
      byFailure,
      cutMs: cutAtMs === undefined ? undefined : cutAtMs - stoppedAtMs,
      exitMs: this.#exit.atMs - stoppedAtMs,
    };
  }

  /** The end of what the process said. */
  get log(): string {
    return this.#instance.process.stderr.slice(-4_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endApplication();
    await this.#disposables.disposeAsync();
  }
}

/** A service that peers call and that stays: what a load balancer has beside the gateway that stops. */
const ELSEWHERE = 'backend-http';

function wrapping(
  { world }: LaneSurroundings,
  { scenario, lane }: LaneOptions,
  name: string,
): InstanceWrapping {
  if (lane === 'bare') return 'bare';
  const endpoints = world.secureRestUrls.flatMap((url) => ['--endpoint', url]);
  const places = ['--state-dir', world.join(`state-${name}`), '--report-file', world.join(`report-${name}`)];
  return { agent: [...endpoints, ...places, ...(scenario.options ?? [])] };
}

interface Placed {
  readonly scenario: StopScenario;
  readonly instance: Instance;
  readonly outboundPort: number;
}

/** Where its users call, once it serves them. */
async function targetOf(
  surroundings: LaneSurroundings,
  { scenario, instance, outboundPort }: Placed,
): Promise<LoadTarget & Partial<{ readonly balancer: Balancer }>> {
  const { peer, peerPort, tempo, gatewayPort } = surroundings;
  const protocol = CLIENT_PROTOCOL[scenario.protocol];
  const { command, name } = instance;
  if (isCalling(scenario)) {
    await untilAccepting(outboundPort, instance);
    return { protocol, port: outboundPort };
  }
  if (scenario.subject === 'builtin gateway') {
    const port = gatewayPort(name);
    await untilAccepting(port, instance);
    if (scenario.balanced === undefined) return { protocol, port };
    const balancer = await Balancer.start({
      targets: [
        { host: '127.0.0.1', port, readinessPort: command.readinessPort },
        { host: '127.0.0.1', port: peerPort(ELSEWHERE) },
      ],
      intervalMs: tempo.balancerIntervalMs,
    });
    await balancer.untilReady();
    return { protocol, port: balancer.port, balancer };
  }
  await untilAccepting(command.inboundPort, instance);
  if (!callsThroughPeer(scenario)) return { protocol, port: command.inboundPort };
  await waitUntil(async () => (await endpointsAt(peer(), name)).includes(command.endpoint), {
    what: () => `the peer to know ${name}; it said: ${instance.process.stderr.slice(-2_000)}`,
    budgetMs: 60_000,
  });
  return { protocol, port: peerPort(name) };
}
