import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { waitUntil } from '../../support/world/wait-until.ts';
import type { StoreChildAnswer } from './store-child.ts';

const PROGRAM = fileURLToPath(new URL('store-child.ts', import.meta.url));

/** Another process that writes to a store; see `store-child.ts`. */
export class StoreProcess implements AsyncDisposable {
  readonly said: StoreChildAnswer[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  /** @param limit blocks of 512 bytes that a file may have */
  constructor(location: string, prefix: string, limit?: number) {
    const argv = [process.execPath, PROGRAM, location, prefix];
    const script = limit === undefined ? 'exec "$@"' : `ulimit -S -f ${limit}; exec "$@"`;
    this.#child = spawn('sh', ['-c', script, 'sh', ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#ended = once(this.#child, 'close');
    if (this.#child.stdout === null) throw new TypeError('It has no output');
    createInterface(this.#child.stdout).on('line', (line) =>
      this.said.push(JSON.parse(line) as StoreChildAnswer),
    );
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The names that it was told are durable. */
  get left(): readonly string[] {
    return this.said.flatMap((one) => (one.said === 'left' ? [one.name] : []));
  }

  get failures(): readonly Extract<StoreChildAnswer, { said: 'failed' }>[] {
    return this.said.filter((one) => one.said === 'failed');
  }

  until(done: () => boolean, what: string): Promise<unknown> {
    return waitUntil(done, { what, budgetMs: 60_000 });
  }

  /** Ends it as a power failure would, and reads its output to the end. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  ended(): Promise<unknown> {
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
