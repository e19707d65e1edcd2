import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { type SignalName } from '../../agent/child/exit-status.pure.ts';
import { type StopReport } from '../../agent/stop/stop-report.pure.ts';
import { processesWith, sendSignal, type LivingProcess } from './world/processes.ts';
import { waitUntil } from './world/wait-until.ts';

export const ROOT = join(import.meta.dirname, '..', '..');

/** The built agent, or the one that `KUMA_DP_AGENT_BIN` names: a mutant, for example. */
export const AGENT_BIN = process.env['KUMA_DP_AGENT_BIN'] ?? join(ROOT, 'dist', 'bin', 'kuma-dp-agent');

/** Stands in for `kuma-dp`; `CHILD_MODE` and `CHILD_PLAN` say what it does. */
export const CHILD = join(ROOT, 'test', 'fixtures', 'children', 'child');

export interface AgentOptions {
  /** Arguments of `kuma-dp-agent`, its subcommand first. */
  readonly argv: readonly string[];
  /** Added to the environment of this process; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to standard input, which is then closed; `'open'` leaves that to the test. Empty if left out. */
  readonly stdin?: Uint8Array | 'open';
  /** A descriptor in place of the pipe that collects standard error. */
  readonly stderrFd?: number;
  /** The program, if it is not {@link AGENT_BIN}. */
  readonly bin?: string;
  /** Goes in front of the program: `['unshare', '--pid', '--fork']`. */
  readonly prefix?: readonly string[];
}

export interface AgentExit {
  readonly code: number | null;
  readonly signal: SignalName | null;
}

/** One line of the agent's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string };

const PATIENCE_MS = 60_000;

/** Travels with the environment to every descendant, whatever becomes of its parent. */
const MARK = 'AGENT_TEST_MARK';

/**
 * The agent as a real process, leader of a process group of its own. Disposing kills what is left of it and fails if
 * the agent had ended by itself and left a process behind.
 */
export class AgentProcess implements AsyncDisposable {
  /** Resolves when the process has ended and its output was read; rejects if that takes longer than any test may. */
  readonly exited: Promise<AgentExit>;
  readonly #ended: Promise<AgentExit>;
  readonly events: LogLine[] = [];
  readonly #mark = randomUUID();
  readonly #child: ChildProcess;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  #unparsed = '';
  #exit: AgentExit | undefined;

  private constructor(options: AgentOptions) {
    const { stdin = new Uint8Array() } = options;
    const child = spawnAgent(options, this.#mark);
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => this.#stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr.push(chunk);
      this.#parse(chunk.toString());
    });
    // It may end without reading its input.
    child.stdin?.on('error', () => {});
    if (stdin !== 'open') child.stdin?.end(stdin);
    this.#ended = this.#untilExit();
    this.exited = Promise.race([this.#ended, this.#untilTooLate()]);
    // Callers that await the end get the error; the process need not be awaited.
    for (const end of [this.#ended, this.exited]) end.catch(() => {});
  }

  /** Waits while another process replaces the build. */
  static async start(options: AgentOptions): Promise<AgentProcess> {
    const { bin } = options;
    const program = bin ?? join(AGENT_BIN, '..', '..', 'kuma-dp-agent', 'main.js');
    await waitUntil(() => existsSync(program), { what: `a built agent: ${program}` });
    return new AgentProcess(options);
  }

  /** @throws Error if it could not be started */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`Not started: ${this.#child.spawnfile}`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#exit === undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stdin(): Writable {
    if (this.#child.stdin === null) throw new Error('No standard input');
    return this.#child.stdin;
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#stdout);
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString();
  }

  /** Lines on standard error that are not the agent's log: its text for people, and its child's output. */
  get spoken(): readonly string[] {
    return this.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  }

  get reports(): readonly StopReport[] {
    return this.events.filter(({ event }) => event === 'stop.reported').map(reportOf);
  }

  /** @throws Error if there was none, or more than one */
  get report(): StopReport {
    const [report, ...more] = this.reports;
    if (report === undefined || more.length > 0) throw new Error(`${this.reports.length} stop reports`);
    return report;
  }

  seen(event: string): readonly LogLine[] {
    return this.events.filter((line) => line.event === event);
  }

  /** Closes our end of its standard error: from now on its output has no reader. */
  closeStderr(): void {
    this.#child.stderr?.destroy();
  }

  /** Stops reading its standard error, so the pipe fills up. */
  pauseStderr(): void {
    this.#child.stderr?.pause();
  }

  /** Sends a signal this many times without a pause. Sends nothing once the process has ended. */
  signal(signal: NodeJS.Signals, count = 1): void {
    for (let sent = 0; sent < count; sent += 1) sendSignal(this.pid, signal);
  }

  /** Sends a signal to the agent and its whole process group. */
  signalGroup(signal: NodeJS.Signals, count = 1): void {
    for (let sent = 0; sent < count; sent += 1) sendSignal(-this.pid, signal);
  }

  /** @throws Error if it ends, or `budgetMs` passes, before it logged `event` `count` times */
  async waitForEvent(event: string, options: { count?: number; budgetMs?: number } = {}): Promise<LogLine> {
    const { count = 1, budgetMs = 20_000 } = options;
    const nth = await waitUntil(() => this.seen(event)[count - 1] ?? (this.running ? undefined : 'ended'), {
      what: () => `event ${event}; standard error: ${this.stderr}`,
      budgetMs,
    });
    if (nth !== 'ended') return nth;
    await this.exited;
    const late = this.seen(event)[count - 1];
    if (late === undefined) throw new Error(`Ended without event ${event} (${count}): ${this.stderr}`);
    return late;
  }

  /** Processes that descend from this agent and still live, itself included. Zombies do not. */
  get living(): readonly LivingProcess[] {
    return processesWith(`${MARK}=${this.#mark}`);
  }

  /** @throws Error that names them if processes are left after `budgetMs` */
  async waitUntilNobodyLives(budgetMs = 3_000): Promise<void> {
    await waitUntil(() => this.living.length === 0, {
      what: () => `the end of ${this.living.map(({ pid, command }) => `${pid} (${command})`).join(', ')}`,
      budgetMs,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const endedByItself = !this.running;
    try {
      if (endedByItself) await this.waitUntilNobodyLives();
    } finally {
      // A killed agent's child gets a signal of its own, and may start something before it arrives.
      for (let round = 0; this.living.length > 0 && round < 50; round += 1) {
        for (const { pid } of this.living) sendSignal(pid, 'SIGKILL');
        await delay(20);
      }
      await this.#ended;
    }
  }

  /** Shorter than a test may take: the test then ends by itself and disposes of the process. */
  async #untilTooLate(): Promise<never> {
    await delay(PATIENCE_MS, undefined, { ref: false });
    throw new Error(`Still running after ${PATIENCE_MS} ms: ${this.stderr}`);
  }

  async #untilExit(): Promise<AgentExit> {
    const child = this.#child;
    const closed = new Promise<void>((resolve) => {
      child.once('close', () => {
        resolve();
      });
    });
    const exit = await new Promise<AgentExit>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        resolve({ code, signal });
      });
    });
    // A process that outlives it may hold the pipes open for long.
    await Promise.race([closed, delay(1_000, undefined, { ref: false })]);
    this.#exit = exit;
    return exit;
  }

  #parse(text: string): void {
    const lines = `${this.#unparsed}${text}`.split('\n');
    this.#unparsed = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('{')) this.events.push(parseLine(line));
    }
  }
}

function spawnAgent(options: AgentOptions, mark: string): ChildProcess {
  const { argv, env = {}, cwd, stderrFd = 'pipe', bin = AGENT_BIN, prefix = [] } = options;
  const [program = '', ...args] = [...prefix, bin, ...argv];
  return spawn(program, args, {
    detached: true,
    stdio: ['pipe', 'pipe', stderrFd],
    env: { ...process.env, ...env, [MARK]: mark },
    ...(cwd === undefined ? {} : { cwd }),
  });
}

function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    // The child writes to the same pipe.
    return { event: 'unreadable', line };
  }
}

function reportOf(line: LogLine): StopReport {
  return line['report'] as StopReport;
}
