import { fork, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { ControlPlaneMessage } from './control-plane.ts';

const PATIENCE_MS = 10_000;

/** The benchmarks' own control plane, while it runs. */
export interface BenchControlPlane extends Disposable {
  readonly urls: Readonly<Record<'http' | 'https', string>>;
  /** Nanoseconds of the monotonic clock at which the next DELETE arrives. */
  nextDeletion(): Promise<bigint>;
}

export async function startControlPlane(): Promise<BenchControlPlane> {
  const server = fork(join(import.meta.dirname, 'control-plane.ts'));
  const next = async (): Promise<ControlPlaneMessage> => {
    const [message] = (await once(server, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [
      ControlPlaneMessage,
    ];
    return message;
  };
  const first = await next();
  if (!('ports' in first)) throw new TypeError('The control plane did not say where it listens');
  const { ports } = first;
  return {
    urls: { http: `http://127.0.0.1:${ports.http}`, https: `https://localhost:${ports.https}` },
    async nextDeletion() {
      const message = await next();
      if (!('deletedAtNs' in message)) throw new TypeError('Not a deletion');
      return BigInt(message.deletedAtNs);
    },
    [Symbol.dispose]() {
      server.disconnect();
    },
  };
}

/** A process under measurement. Disposing ends it and everything below it. */
export class MeasuredProcess implements AsyncDisposable {
  /** Nanoseconds of the monotonic clock just before it was created. */
  readonly startedAtNs: bigint;
  readonly #mark = randomUUID();
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #closed = false;
  #output = '';
  #error = '';

  constructor(argv: readonly string[]) {
    const [program = '', ...args] = argv;
    this.startedAtNs = process.hrtime.bigint();
    this.#child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MEASURED: this.#mark },
    });
    this.#child.once('close', () => {
      this.#closed = true;
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
      for (const look of this.#waiting) look();
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#error += chunk.toString();
      for (const look of this.#waiting) look();
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`Not started: ${this.#child.spawnfile}`);
    return this.#child.pid;
  }

  /** @returns nanoseconds of the monotonic clock at which `text` was read from its standard output or error */
  wrote(text: string): Promise<bigint> {
    return new Promise((resolve, reject) => {
      const giveUp = setTimeout(() => {
        reject(new Error(`Did not write "${text}" within ${PATIENCE_MS} ms, but: ${this.#error}`));
      }, PATIENCE_MS);
      const look = (): void => {
        const nowNs = process.hrtime.bigint();
        if (!this.#output.includes(text) && !this.#error.includes(text)) return;
        clearTimeout(giveUp);
        this.#waiting.delete(look);
        resolve(nowNs);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** The memory of this process by the kernel's account, in kilobytes. */
  memoryKb(): Readonly<Record<'rss' | 'pss' | 'dirty', number>> {
    const rollup = readFileSync(`/proc/${this.pid}/smaps_rollup`, 'utf8');
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1]);
    return { rss: field('Rss'), pss: field('Pss'), dirty: field('Private_Dirty') };
  }

  /** @returns nanoseconds of the monotonic clock just before the signal was sent */
  signal(signal: NodeJS.Signals): bigint {
    const nowNs = process.hrtime.bigint();
    process.kill(this.pid, signal);
    return nowNs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    const closed = once(this.#child, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) });
    // The next round finds a child that is forked at this moment.
    for (let left = this.#processes(); left.length > 0; left = this.#processes()) {
      for (const pid of left) kill(pid);
      await delay(5);
    }
    await closed;
  }

  /** All of its descendants, wherever they are now: each carries the mark in its environment. */
  #processes(): readonly number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => environment(pid).includes(this.#mark));
  }
}

/** Empty for a process that has ended or is another user's. */
function environment(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
