import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { formatDuration } from '../../../kernel/duration.ts';
import { type KumaWorld } from '../kuma-worlds/kuma-world.ts';
import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { AGENT } from '../world/fleet.ts';
import { HttpApplication } from '../world/http-application.ts';
import { ManagedProcess } from '../world/managed-process.ts';
import { losePower } from '../world/power-loss.ts';
import { answersHttp } from '../world/running-dataplane.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type LaneKind, type Tempo } from './scenario.ts';

/** `RestartSec=` of the units. */
const RESTART_MS = 1_000;
const SERVING_BUDGET_MS = 60_000;

export interface UnitOptions {
  readonly lane: LaneKind;
  readonly tempo: Tempo;
  readonly name: string;
  /** Of the agent, in place of the control planes' REST APIs. */
  readonly endpoints?: readonly string[];
  readonly options?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * A dataplane as systemd runs its unit: started again a second after it ended by itself, and with the agent an
 * `ExecStopPost=` after every end, before the next start.
 */
export class UnitLane implements AsyncDisposable {
  readonly lane: LaneKind;
  readonly command: DataplaneCommand;
  readonly stateDir: string;
  readonly #options: UnitOptions;
  readonly #argv: readonly [string, readonly string[]];
  readonly #application: HttpApplication;
  #process: ManagedProcess | undefined;
  #stopping = false;
  #supervision: Promise<void> = Promise.resolve();

  private constructor(
    options: UnitOptions,
    parts: {
      readonly command: DataplaneCommand;
      readonly stateDir: string;
      readonly argv: readonly string[];
    },
    application: HttpApplication,
  ) {
    this.lane = options.lane;
    this.#options = options;
    this.command = parts.command;
    this.stateDir = parts.stateDir;
    const { command, argv } = parts.command;
    this.#argv = options.lane === 'bare' ? [command, argv] : [AGENT, [...parts.argv, '--', command, ...argv]];
    this.#application = application;
  }

  /** Starts the application only. */
  static async create(world: KumaWorld, options: UnitOptions): Promise<UnitLane> {
    const { name, tempo } = options;
    const application = await HttpApplication.start({ name });
    const command = await world.dataplane({
      name,
      service: name,
      servicePort: application.port,
      drainTime: formatDuration(tempo.drainMs),
    });
    const stateDir = world.join(`state-${name}`);
    const endpoints = (options.endpoints ?? world.secureRestUrls).flatMap((url) => ['--endpoint', url]);
    const argv = ['run', ...endpoints, '--state-dir', stateDir, ...(options.options ?? [])];
    return new UnitLane(options, { command, stateDir, argv }, application);
  }

  /** `systemctl start` of a `Type=simple` unit. */
  start(): void {
    this.#stopping = false;
    this.#supervision = this.#supervise();
  }

  /** `systemctl stop`. Resolves when `ExecStopPost=` has ended as well. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#running.signal('SIGTERM');
    await this.#supervision;
  }

  /** `systemctl restart`: the start waits for the stop. */
  async restart(): Promise<void> {
    await this.stop();
    this.start();
  }

  /** Kills everything at once; nothing starts it again. */
  async losePower(): Promise<void> {
    this.#stopping = true;
    await losePower(this.#running);
    await this.#supervision;
  }

  /** kuma-dp, whatever its parent is. */
  get mainPid(): number {
    return this.#running.pid;
  }

  /** @returns `performance.now()` when the inbound gave its first answer */
  untilServing(): Promise<number> {
    return waitUntil(async () => (await answersHttp(this.command.inboundPort)) && performance.now(), {
      what: () => `${this.#options.name} to serve; it said: ${this.#process?.stderr.slice(-3_000) ?? ''}`,
      budgetMs: SERVING_BUDGET_MS,
      pollMs: 20,
    });
  }

  async untilGone(): Promise<void> {
    await waitUntil(async () => !(await answersHttp(this.command.inboundPort)), {
      what: `${this.#options.name} to serve no more`,
      budgetMs: SERVING_BUDGET_MS,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    if (this.#process?.running === true) await losePower(this.#process);
    await this.#supervision;
    await this.#application[Symbol.asyncDispose]();
  }

  get #running(): ManagedProcess {
    if (this.#process === undefined) throw new Error(`${this.#options.name} was not started`);
    return this.#process;
  }

  async #supervise(): Promise<void> {
    for (;;) {
      const [command, argv] = this.#argv;
      const invocation = { INVOCATION_ID: randomUUID().replaceAll('-', '') };
      const running = new ManagedProcess({
        command,
        argv,
        env: { ...this.command.env, ...this.#options.env, ...invocation },
      });
      this.#process = running;
      const { code } = await running.exited;
      const result = code === 0 ? 'success' : 'exit-code';
      if (this.lane === 'agent') await this.#execStopPost({ ...invocation, SERVICE_RESULT: result });
      if (this.#stopping) return;
      await delay(RESTART_MS);
    }
  }

  /** @param env as systemd sets it, see systemd.exec(5) */
  async #execStopPost(env: Readonly<Record<string, string>>): Promise<void> {
    const argv = ['deregister', '--state', this.stateDir];
    await using finisher = new ManagedProcess({ command: AGENT, argv, env });
    await finisher.exited;
  }
}
