import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import type { StopReport } from '../../../agent/stop/stop-report.pure.ts';
import { lives, processesWith, sendSignal, type LivingProcess } from '../world/processes.ts';
import { TLS_FIXTURES, type ControlPlane } from '../kuma/control-plane.ts';
import { AGENT } from '../world/fleet.ts';
import { dataplaneCommand, KUMA_DP, type DataplaneCommand } from '../world/dataplane-command.ts';
import { HttpApplication } from '../world/http-application.ts';
import { answersHttp } from '../world/running-dataplane.ts';
import { childrenOf } from '../world/power-loss.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';

const MARK = 'SUPERVISOR_TEST_MARK';

export interface SupervisedHostOptions {
  readonly controlPlane: ControlPlane;
  /** kuma-dp's `--drain-time`. */
  readonly drainTime?: string;
  /** More environment of the supervisor. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface HostExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface HostProcess {
  readonly exited: Promise<HostExit>;
  /** 0 if it could not be started. */
  readonly pid: number;
  readonly signal: (signal: NodeJS.Signals) => void;
}

interface HeldRequest {
  /** Of the answer, or that there was none. */
  readonly status: Promise<number | 'cut'>;
}

/** Who is who among the processes of one dataplane. */
export type Member = 'agent' | 'kuma-dp' | 'envoy';

/** Those that are not disposed of yet. */
const hosts = new Set<DataplaneHost>();

/** Left by tests that ran out of time: such a supervisor would start its dataplane again and again. */
export async function disposeOfLeftHosts(): Promise<void> {
  await Promise.all([...hosts].map((host) => host[Symbol.asyncDispose]()));
}

/**
 * A host for one dataplane that another program supervises: the files of the documented commands, their environment,
 * and a view of all processes, whatever started them. Disposing kills all of them.
 */
export class DataplaneHost implements AsyncDisposable {
  readonly dir: TemporaryDir;
  readonly name: string;
  readonly controlPlane: ControlPlane;
  readonly application: HttpApplication;
  readonly command: DataplaneCommand;
  readonly #mark = randomUUID();
  readonly #options: SupervisedHostOptions;

  private constructor(
    options: SupervisedHostOptions,
    parts: {
      readonly dir: TemporaryDir;
      readonly application: HttpApplication;
      readonly command: DataplaneCommand;
    },
  ) {
    this.#options = options;
    this.controlPlane = options.controlPlane;
    this.dir = parts.dir;
    this.application = parts.application;
    this.command = parts.command;
    this.name = String(parts.command.resource['name']);
    for (const file of ['token', 'kuma-dp.log']) writeFileSync(this.dir.join(file), '');
    writeFileSync(this.dir.join('dataplane.yaml'), JSON.stringify(parts.command.resource));
  }

  static async create(options: SupervisedHostOptions): Promise<DataplaneHost> {
    const dir = new TemporaryDir();
    const name = `web-${randomUUID().slice(0, 8)}`;
    const application = await HttpApplication.start({ name });
    const command = await dataplaneCommand({
      controlPlaneUrl: options.controlPlane.dataplaneUrl,
      name,
      servicePort: application.port,
      workDir: dir.join('work'),
    });
    const host = new DataplaneHost(options, { dir, application, command });
    hosts.add(host);
    return host;
  }

  /** The paths and addresses of the pages, and what stands for them here. */
  get places(): ReadonlyMap<string, string> {
    return new Map([
      ['/usr/bin/kuma-dp-agent', AGENT],
      ['/usr/bin/kuma-dp', KUMA_DP],
      ['/usr/bin/application', '/usr/bin/sleep 600'],
      ['https://cp.example:5678', this.controlPlane.dataplaneUrl],
      ['/etc/kuma-dp/dataplane.yaml', this.dir.join('dataplane.yaml')],
      ['/etc/kuma-dp/token', this.dir.join('token')],
      ['/etc/kuma-dp/ca.crt', `${TLS_FIXTURES}/ca.crt`],
      ['/run/kuma-dp-agent', this.stateDir],
      ['/var/log/kuma-dp.log', this.logFile],
    ]);
  }

  get stateDir(): string {
    return this.dir.join('state');
  }

  /** Standard error of the agent and of kuma-dp, wherever the supervisor sends it. */
  get logFile(): string {
    return this.dir.join('kuma-dp.log');
  }

  /** For the supervisor, which passes it on: ports that are free here, and short waits. */
  get environment(): Readonly<Record<string, string>> {
    const { drainTime = '30s', env = {} } = this.#options;
    return {
      ...this.command.env,
      KUMA_DP_AGENT_ENDPOINT: this.controlPlane.httpUrl,
      KUMA_DP_AGENT_STATE_DIR: this.stateDir,
      KUMA_DP_AGENT_SETTLE: '300ms',
      KUMA_DATAPLANE_DRAIN_TIME: drainTime,
      KUMA_DATAPLANE_RUNTIME_WORK_DIR: this.dir.join('work'),
      KUMA_DNS_ENABLED: 'false',
      [MARK]: this.#mark,
      ...env,
    };
  }

  /** Starts a supervisor in a session of its own. Its output, and that of its services, goes to {@link logFile}. */
  spawn(program: string, argv: readonly string[]): HostProcess {
    const log = openSync(this.logFile, 'a');
    const child = spawn(program, argv, {
      stdio: ['ignore', log, log],
      detached: true,
      cwd: this.dir.path,
      env: { ...process.env, ...this.environment },
    });
    closeSync(log);
    const exited = new Promise<HostExit>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        resolve({ code, signal });
      });
    });
    exited.catch(() => {});
    return { exited, pid: child.pid ?? 0, signal: (signal) => void child.kill(signal) };
  }

  /** Everything that descends from the supervisor and lives, zombies not included. */
  get living(): readonly LivingProcess[] {
    return processesWith(`${MARK}=${this.#mark}`);
  }

  /** Ended processes that one of the living has not waited for. */
  get zombies(): readonly number[] {
    return this.living
      .flatMap(({ pid }) => childrenOf(pid))
      .filter((pid) => /^State:\s+Z/m.test(statusOf(pid)));
  }

  /** By the pid that this test sees, in whatever namespace it runs. */
  findPid(member: Member): number | undefined {
    return this.living.find(({ command }) => MEMBERS[member].test(command))?.pid;
  }

  /** @throws Error if there is none */
  pidOf(member: Member): number {
    const pid = this.findPid(member);
    if (pid === undefined) throw new Error(`No ${member} runs`);
    return pid;
  }

  kill(member: Member): void {
    sendSignal(this.pidOf(member), 'SIGKILL');
  }

  /** Kills those whose command line is one of these, together, and waits for their end. */
  async killAll(own: RegExp): Promise<void> {
    const victims = this.living.filter(({ command }) => own.test(command)).map(({ pid }) => pid);
    for (const pid of victims) sendSignal(pid, 'SIGKILL');
    await waitUntil(() => !victims.some(lives), { what: 'their end' });
  }

  /** Waits until a member runs that is not the one with this pid. */
  async untilReplaced(member: Member, pid: number): Promise<void> {
    await waitUntil(() => ![undefined, pid].includes(this.findPid(member)), {
      what: () => `another ${member} than ${pid}; it said: ${this.log}`,
      budgetMs: 40_000,
    });
  }

  async untilServing(): Promise<void> {
    await waitUntil(() => answersHttp(this.command.inboundPort), {
      what: () => `${this.name} to serve; it said: ${this.log}`,
      budgetMs: 40_000,
    });
    await waitUntil(() => this.log.includes('"endpoint.reached"'), { what: 'the agent at its endpoint' });
    await waitUntil(() => this.isRegistered, { what: 'the object to be there' });
  }

  serves(): Promise<boolean> {
    return answersHttp(this.command.inboundPort);
  }

  /** Begins a request that lasts until the application releases it: a drain waits for it. */
  async hold(): Promise<HeldRequest> {
    const status = fetch(`http://${this.command.endpoint}/hold`).then(
      (response) => response.status,
      () => 'cut' as const,
    );
    await waitUntil(() => this.application.active > 0, { what: 'the request at the application' });
    return { status };
  }

  get isRegistered(): boolean {
    return (
      this.controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name: this.name }) !== undefined
    );
  }

  /** When its object was deleted, in milliseconds since the Unix epoch. */
  get deletedAtMs(): readonly number[] {
    return this.controlPlane.journal.events
      .filter(({ kind, subject }) => kind === 'deleted' && subject === `default/${this.name}`)
      .map(({ atMs }) => atMs);
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** The agent's stop reports, in order. */
  get reports(): readonly StopReport[] {
    return this.log
      .split('\n')
      .filter((line) => line.startsWith('{') && line.includes('"stop.reported"'))
      .map((line) => (JSON.parse(line) as { readonly report: StopReport }).report);
  }

  /** When kuma-dp received a stop signal, by its own log: milliseconds since the Unix epoch. */
  get heardAtMs(): readonly number[] {
    return [...this.log.matchAll(/^(\S+)\tINFO\t\S+\treceived (?:second |third )?signal/gm)].map(
      ([, at = '']) => Date.parse(at),
    );
  }

  /** Whether each stop signal that kuma-dp heard came after the first deletion of its object. */
  get keptOrder(): boolean {
    const [first = Infinity] = this.deletedAtMs;
    return this.heardAtMs.length > 0 && this.heardAtMs.every((atMs) => atMs >= first);
  }

  /** @throws Error that names them if processes beside `staying` are left after `budgetMs` */
  async untilOnly(staying: RegExp | undefined, budgetMs = 3_000): Promise<void> {
    const left = (): readonly LivingProcess[] =>
      this.living.filter(({ command }) => staying === undefined || !staying.test(command));
    await waitUntil(() => left().length === 0, {
      what: () =>
        `the end of ${left()
          .map(({ pid, command }) => `${pid} (${command})`)
          .join(', ')}`,
      budgetMs,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    hosts.delete(this);
    // A process that is being killed may just have started another, a supervisor above all.
    for (let round = 0; this.living.length > 0 && round < 50; round += 1) {
      for (const { pid } of this.living) sendSignal(pid, 'SIGKILL');
      await delay(20);
    }
    await this.application[Symbol.asyncDispose]();
    this.dir[Symbol.dispose]();
  }
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

const MEMBERS: Readonly<Record<Member, RegExp>> = {
  // By the launcher, or with a preload by Node itself.
  agent: /^\S*(?:node|kuma-dp-agent) .*kuma-dp-agent\/main\.js run/,
  'kuma-dp': /stand-in\/main\.ts run/,
  envoy: /^\S*envoy .*--config-path/,
};
