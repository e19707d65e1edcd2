import { type ChildProcess, spawn } from 'node:child_process';

import { waitUntil } from './wait-until.ts';

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** `performance.now()` when it was noticed. */
  readonly atMs: number;
}

export interface ProcessOptions {
  readonly command: string;
  readonly argv?: readonly string[];
  /** Added to the environment of this process; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to standard input, which is then closed. Empty if left out. */
  readonly stdin?: string;
}

const OUTPUT_GRACE_MS = 200;

/** A child process with its output kept. Disposing kills it if it still runs, and waits for its end. */
export class ManagedProcess implements AsyncDisposable {
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  #exit: ProcessExit | undefined;
  #stdout = '';
  #stderr = '';

  constructor(options: ProcessOptions) {
    const { command, argv = [], env = {}, cwd, stdin = '' } = options;
    const child = spawn(command, argv, {
      stdio: 'pipe',
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => (this.#stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()));
    child.stdin.on('error', () => {
      // It may end without reading its input.
    });
    child.stdin.end(stdin);
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        const exit = { code, signal, atMs: performance.now() };
        const settle = (): void => {
          this.#exit = exit;
          resolve(exit);
        };
        // All output has arrived at 'close', but a living descendant can delay that.
        child.once('close', settle);
        setTimeout(settle, OUTPUT_GRACE_MS).unref();
      });
    });
    this.exited.catch(() => {
      // Callers that await the end get the error; the process need not be awaited.
    });
  }

  /** @throws Error if it could not be started */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`Not started: ${this.#child.spawnfile}`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits until standard error or output has a text. @throws Error if it ends or `budgetMs` passes without */
  async waitForOutput(wanted: string | RegExp, budgetMs = 20_000): Promise<void> {
    const has = (text: string): boolean =>
      typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);
    await waitUntil(
      () => {
        if (has(this.#stderr) || has(this.#stdout)) return true;
        return this.#exit === undefined ? undefined : 'ended';
      },
      { what: () => `output ${String(wanted)}; standard error so far: ${this.#stderr}`, budgetMs },
    ).then((outcome) => {
      if (outcome === 'ended') throw new Error(`Ended without output ${String(wanted)}: ${this.#stderr}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) {
      this.#child.kill('SIGKILL');
      await this.exited;
    }
  }
}
