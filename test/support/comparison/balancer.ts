import { connect, createServer, type Socket } from 'node:net';

import { passOn } from '../pass-on.ts';
import { SocketServer } from '../world/socket-server.ts';
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
  readonly #server: SocketServer;
  readonly #targets: Checked[];
  readonly #timer: NodeJS.Timeout;
  #next = 0;

  private constructor({ targets, intervalMs }: BalancerOptions) {
    this.#targets = targets.map((target) => unproven(target));
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      this.#pass(socket);
    });
    this.#server = new SocketServer(server);
    this.#timer = setInterval(() => {
      for (const target of this.#targets) void check(target);
    }, intervalMs);
  }

  static async start(options: BalancerOptions): Promise<Balancer> {
    const balancer = new Balancer(options);
    await balancer.#server.listen();
    return balancer;
  }

  get port(): number {
    return this.#server.port;
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
    await this.#server[Symbol.asyncDispose]();
  }

  #pass(client: Socket): void {
    const up = this.#targets.filter(({ refusals }) => refusals < THRESHOLD);
    const target = up[this.#next % up.length];
    this.#next += 1;
    if (target === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect(target.port, target.host);
    this.#server.track(upstream);
    passOn(client, upstream);
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
