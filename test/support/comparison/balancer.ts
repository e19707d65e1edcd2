import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

import { waitUntil } from '../world/wait-until.ts';

export interface BalancerTarget {
  readonly host: string;
  readonly port: number;
  /** Where it is asked whether it is ready: kuma-dp's `/ready`. Never asked if left out: always ready. */
  readonly readinessPort?: number;
}

export interface BalancerOptions {
  readonly targets: readonly BalancerTarget[];
  readonly intervalMs: number;
}

/** Answers in a row that take a target out. */
const THRESHOLD = 2;
const CHECK_TIMEOUT_MS = 1_000;
const READY_BUDGET_MS = 30_000;

/**
 * A TCP load balancer in front of the mesh, as cloud providers have them: round robin over the targets whose `/ready`
 * answered 200, which it asks every interval; two refusals in a row take a target out.
 */
export class Balancer implements AsyncDisposable {
  readonly #server: Server;
  readonly #targets: Checked[];
  readonly #sockets = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #next = 0;

  private constructor({ targets, intervalMs }: BalancerOptions) {
    this.#targets = targets.map((target) => unproven(target));
    this.#server = createServer({ pauseOnConnect: true }, (socket) => {
      this.#pass(socket);
    });
    this.#timer = setInterval(() => {
      for (const target of this.#targets) void check(target);
    }, intervalMs);
  }

  static async start(options: BalancerOptions): Promise<Balancer> {
    const balancer = new Balancer(options);
    await new Promise<void>((listening) => {
      balancer.#server.listen(0, '127.0.0.1', listening);
    });
    return balancer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  add(target: BalancerTarget): void {
    this.#targets.push(unproven(target));
  }

  /** Waits until every target was found ready. */
  async untilReady(): Promise<void> {
    await waitUntil(() => this.#targets.every(({ refusals }) => refusals === 0), {
      what: 'the load balancer to find its targets ready',
      budgetMs: READY_BUDGET_MS,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    const closed = new Promise<void>((done) => {
      this.#server.close(() => {
        done();
      });
    });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #pass(client: Socket): void {
    const up = this.#targets.filter(({ refusals }) => refusals < THRESHOLD);
    const target = up[this.#next % up.length];
    this.#next += 1;
    this.#sockets.add(client);
    client.on('error', () => client.destroy());
    if (target === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect(target.port, target.host);
    this.#sockets.add(upstream);
    upstream.on('connect', () => {
      client.pipe(upstream);
      upstream.pipe(client);
    });
    upstream.on('error', () => client.destroy());
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }
}

/** Gets nothing before it was found ready once. */
function unproven(target: BalancerTarget): Checked {
  return { ...target, refusals: target.readinessPort === undefined ? 0 : THRESHOLD };
}

interface Checked extends BalancerTarget {
  refusals: number;
}

async function check(target: Checked): Promise<void> {
  if (target.readinessPort === undefined) return;
  try {
    const response = await fetch(`http://127.0.0.1:${target.readinessPort}/ready`, {
      signal: AbortSignal.timeout(CHECK_TIMEOUT_MS),
    });
    target.refusals = response.ok ? 0 : target.refusals + 1;
  } catch {
    target.refusals += 1;
  }
}
