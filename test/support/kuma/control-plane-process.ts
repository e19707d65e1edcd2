import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Readable } from 'node:stream';

import { type ServerName } from './control-plane.ts';
import { type ReadyLine } from './control-port.ts';
import { type RestFault } from './faults.ts';
import { type LifecycleEvent, type SeenRequest } from './journal.ts';
import { completeSettings, type ControlPlaneOptions } from './settings.ts';

type Child = ChildProcessByStdio<null, Readable, null>;

const PROGRAM = join(import.meta.dirname, 'control-plane-main.ts');

/**
 * A control plane in a process of its own, which can be killed for real and started again on the same ports. Give it a
 * `storeFile`, or its objects die with it.
 */
export class ControlPlaneProcess implements AsyncDisposable {
  readonly #options: ControlPlaneOptions;
  readonly #launcher: readonly string[];
  #child: Child | undefined;
  #ready: ReadyLine | undefined;

  private constructor(options: ControlPlaneOptions, launcher: readonly string[]) {
    this.#options = options;
    this.#launcher = launcher;
  }

  /** @param launcher a command that goes in front, such as one that enters a namespace */
  static async start(
    options: ControlPlaneOptions = {},
    launcher: readonly string[] = [],
  ): Promise<ControlPlaneProcess> {
    const controlPlane = new ControlPlaneProcess(options, launcher);
    await controlPlane.start();
    return controlPlane;
  }

  /** `undefined` while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get instanceId(): string {
    return this.#known.instanceId;
  }

  get httpUrl(): string {
    return `http://${this.#host}:${this.#known.ports.http}`;
  }

  get httpsUrl(): string {
    return `https://${this.#host}:${this.#known.ports.https}`;
  }

  get dataplaneUrl(): string {
    return `https://${this.#host}:${this.#known.ports.dataplane}`;
  }

  /** @throws Error if it exits before it is ready; its reason is on standard error */
  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    const ports = this.#ready?.ports ?? this.#options.ports;
    const options = JSON.stringify({ ...this.#options, ...(ports === undefined ? {} : { ports }) });
    const [command, ...argv] = [...this.#launcher, process.execPath, PROGRAM];
    const child: Child = spawn(command, [...argv, '--options', options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) {
      this.#ready = JSON.parse(line) as ReadyLine;
      return;
    }
    throw new Error('The control plane ended before it was ready');
  }

  stop(): Promise<void> {
    return this.#kill('SIGTERM');
  }

  crash(): Promise<void> {
    return this.#kill('SIGKILL');
  }

  async addFault(fault: RestFault): Promise<void> {
    await this.#command('faults', fault);
  }

  async pause(): Promise<void> {
    await this.#command('pause');
  }

  async resume(): Promise<void> {
    await this.#command('resume');
  }

  async refuseConnections(servers?: readonly ServerName[]): Promise<void> {
    await this.#command('refuse-connections', { servers });
  }

  async acceptConnections(servers?: readonly ServerName[]): Promise<void> {
    await this.#command('accept-connections', { servers });
  }

  async dropStreams(name?: string): Promise<void> {
    await this.#command('drop-streams', { name });
  }

  /** What this instance saw and did since it started. */
  async journal(): Promise<{
    readonly requests: readonly SeenRequest[];
    readonly events: readonly LifecycleEvent[];
  }> {
    const response = await fetch(`${this.#controlUrl}/journal`);
    return (await response.json()) as { requests: SeenRequest[]; events: LifecycleEvent[] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #host(): string {
    return completeSettings(this.#options).host;
  }

  get #known(): ReadyLine {
    if (this.#ready === undefined) throw new Error('The control plane was never ready');
    return this.#ready;
  }

  get #controlUrl(): string {
    return `http://${this.#host}:${this.#known.ports.control}`;
  }

  async #command(name: string, body?: unknown): Promise<void> {
    const text = body === undefined ? null : JSON.stringify(body);
    const response = await fetch(`${this.#controlUrl}/${name}`, { method: 'POST', body: text });
    if (!response.ok) throw new Error(`Cannot ${name}: ${await response.text()}`);
  }

  async #kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    if (signal === 'SIGTERM') child.kill('SIGCONT');
    await exited;
  }
}
