import process from 'node:process';

import { pause, systemClock } from '../../kernel/clock.ts';
import { processRef } from '../state/host.io.ts';
import type { ProcessRef } from '../state/host-state.pure.ts';
import type { Child } from '../ports.ts';
import { realTimeNumber, type SignalName } from './exit-status.pure.ts';
import { kumaDpAmong } from './process-tree.io.ts';

const POLL_MS = 50;

/**
 * The process of the wrapped command, and kuma-dp, which is most often the same. Where something stands between them,
 * signals go to kuma-dp: a shell would die of a SIGTERM and leave kuma-dp alone, `su` would kill it 2 s later.
 */
export class WrappedChild implements Child {
  readonly pid: number;
  readonly #denied = Promise.withResolvers<number>();
  readonly #unkillable = Promise.withResolvers<void>();
  #kumaDp: ProcessRef | undefined;
  #ended = false;

  constructor(pid: number) {
    this.pid = pid;
  }

  /** Settles with the first process that this user may not signal. */
  get denied(): Promise<number> {
    return this.#denied.promise;
  }

  /** Settles when a SIGKILL reached no process at all. */
  get unkillable(): Promise<void> {
    return this.#unkillable.promise;
  }

  signal(signal: SignalName): void {
    const target = this.#target();
    // SIGKILL leaves nothing that could end by itself.
    const targets = signal === 'SIGKILL' ? [...new Set([target, this.pid])] : [target];
    const told = targets.map((pid) => this.#send(pid, signal));
    if (told.includes(true)) return;
    // The kuma-dp of another user: then what was started is told, which may pass it on.
    if (!targets.includes(this.pid) && this.#send(this.pid, signal)) return;
    this.#denied.resolve(target);
    if (signal === 'SIGKILL') this.#unkillable.resolve();
  }

  /** What the agent started has ended. Settles when the kuma-dp that it may have left has ended as well. */
  async outlived(): Promise<void> {
    this.#ended = true;
    while (this.#kumaDp !== undefined && isAlive(this.#kumaDp)) await pause(systemClock, POLL_MS);
  }

  /** @returns whether it was this user's to signal; a process that has ended is */
  #send(pid: number, signal: SignalName): boolean {
    return (pid === this.pid && this.#ended) || send(pid, signal);
  }

  #target(): number {
    if (!this.#ended) {
      const pid = kumaDpAmong(this.pid);
      this.#kumaDp = pid === undefined || pid === this.pid ? this.#kumaDp : processRef(pid);
    }
    return this.#kumaDp?.pid ?? this.pid;
  }
}

function isAlive({ pid, startTicks }: ProcessRef): boolean {
  return processRef(pid)?.startTicks === startTicks;
}

function send(pid: number, signal: SignalName): boolean {
  try {
    process.kill(pid, realTimeNumber(signal) ?? signal);
    return true;
  } catch (error) {
    // It may have ended in this moment.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
