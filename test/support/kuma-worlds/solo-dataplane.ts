import { readFileSync } from 'node:fs';

import { callAdmin } from '../kuma/stand-in/admin-client.ts';
import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { HttpApplication } from '../world/http-application.ts';
import { type HttpAnswer } from '../world/http-call.ts';
import { ManagedProcess, type ProcessExit } from '../world/managed-process.ts';
import { childrenOf } from '../world/power-loss.ts';
import { answersHttp } from '../world/running-dataplane.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type KumaWorld, type WorldDataplane } from './kuma-world.ts';

export type SoloOptions = Omit<WorldDataplane, 'service' | 'servicePort'> & { readonly service?: string };

/** One dataplane with its application, bare: kuma-dp is this process's child. */
export class SoloDataplane implements AsyncDisposable {
  readonly name: string;
  readonly command: DataplaneCommand;
  readonly application: HttpApplication;
  readonly #adminSocket: boolean;
  #process: ManagedProcess | undefined;

  private constructor(
    world: KumaWorld,
    parts: {
      readonly name: string;
      readonly command: DataplaneCommand;
      readonly application: HttpApplication;
    },
  ) {
    this.name = parts.name;
    this.command = parts.command;
    this.application = parts.application;
    this.#adminSocket = world.behaviour.adminSocket;
  }

  /** Starts the application, not kuma-dp. */
  static async create(world: KumaWorld, options: SoloOptions): Promise<SoloDataplane> {
    const { name, service = name } = options;
    const application = await HttpApplication.start({ name });
    const command = await world.dataplane({ ...options, service, servicePort: application.port });
    return new SoloDataplane(world, { name, command, application });
  }

  static async serving(world: KumaWorld, options: SoloOptions): Promise<SoloDataplane> {
    await using disposables = new AsyncDisposableStack();
    const dataplane = disposables.use(await SoloDataplane.create(world, options));
    dataplane.start();
    await dataplane.untilServing();
    disposables.move();
    return dataplane;
  }

  get process(): ManagedProcess {
    if (this.#process === undefined) throw new Error(`${this.name} was not started`);
    return this.#process;
  }

  /** @param change other arguments, or other variables on top */
  start(
    change: { readonly argv?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
  ): ManagedProcess {
    const { command, argv, env } = this.command;
    this.#process = new ManagedProcess({
      command,
      argv: change.argv ?? argv,
      env: { ...env, ...change.env },
    });
    return this.#process;
  }

  /** @returns `performance.now()` when the inbound gave its first answer */
  untilServing(budgetMs = 60_000): Promise<number> {
    const { process: kumaDp } = this;
    return waitUntil(
      async () => {
        if (!kumaDp.running) throw new Error(`kuma-dp ended: ${kumaDp.stderr.slice(-2_000)}`);
        return (await this.answers()) && performance.now();
      },
      { what: `${this.name} to serve`, budgetMs },
    );
  }

  answers(): Promise<boolean> {
    return answersHttp(this.command.inboundPort);
  }

  /** kuma-dp's own readiness. */
  async readiness(): Promise<HttpAnswer> {
    return callAdmin({ port: this.command.readinessPort }, 'GET', '/ready');
  }

  admin(path: string): Promise<HttpAnswer> {
    const { adminSocket: socket, adminPort: port } = this.command;
    return callAdmin(this.#adminSocket ? { socket } : { port }, 'GET', path);
  }

  /** Kills kuma-dp, and its Envoy with it. */
  async crash(): Promise<ProcessExit> {
    this.process.signal('SIGKILL');
    return this.process.exited;
  }

  /** Envoy's process. */
  envoyPid(): number {
    const envoy = childrenOf(this.process.pid).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--config-path'),
    );
    if (envoy === undefined) throw new Error('kuma-dp has no Envoy');
    return envoy;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
    await this.application[Symbol.asyncDispose]();
  }
}
