import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface LoggedProcessOptions {
  readonly command: string;
  readonly argv: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Gets standard output and error, appended. */
  readonly logFile: string;
}

/** kuma-cp gives its servers 10 s to end. */
const PATIENCE_MS = 20_000;
const LAST_WORDS = 2_000;

/** A long-lived process that writes to a file and may need a while to end. */
export class LoggedProcess {
  readonly #child: ChildProcess;
  readonly #logFile: string;

  constructor(options: LoggedProcessOptions) {
    const { command, argv, env, cwd, logFile } = options;
    const log = openSync(logFile, 'a');
    this.#child = spawn(command, argv, { env, cwd, stdio: ['ignore', log, log] });
    this.#child.on('error', () => {
      // `running` reports the error.
    });
    closeSync(log);
    this.#logFile = logFile;
  }

  get running(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** The end of its log. */
  get lastOutput(): string {
    return readFileSync(this.#logFile, 'utf8').slice(-LAST_WORDS);
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }

  /** Sends the signal, kills it if that does not end it in time, and waits for the end. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    const impatience = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS);
    await ended;
    clearTimeout(impatience);
  }
}
