import process from 'node:process';

import { pause, systemClock } from '../../kernel/clock.ts';
import { processRef } from '../state/host.io.ts';
import type { ProcessRef } from '../state/host-state.pure.ts';
import type { Child } from '../ports.ts';
import { realTimeNumber, type ChildExit, type SignalName } from './exit-status.pure.ts';
import { adoptedChildren } from './own-children.io.ts';
import { kumaDpAmong } from './process-tree.io.ts';

const POLL_MS = 50;
/** A command that detaches may end before its child has become kuma-dp. */
const DETACHING_MS = 1_000;

/**
 * The process of the wrapped command, and kuma-dp, which is usually the same. If a program stands between them, signals
 * go to kuma-dp: a shell would die of a SIGTERM and leave kuma-dp alone, `su` would kill it 2 s later.
 */
export class WrappedChild implements Child {
  readonly pid: number;
  readonly #denied = Promise.withResolvers<number>();
  readonly #detached = Promise.withResolvers<ProcessRef>();
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

  /** Settles with a kuma-dp that the command has sent to the background. */
  get detached(): Promise<ProcessRef> {
    return this.#detached.promise;
  }

  signal(signal: SignalName): void {
    const target = this.#target();
    // SIGKILL leaves nothing that could end by itself.
    const targets = signal === 'SIGKILL' ? [...new Set([target, this.pid])] : [target];
    const told = targets.map((pid) => this.#send(pid, signal));
    if (told.includes(true)) return;
    // The agent may not signal another user's kuma-dp: it signals the wrapper, which may forward it.
    if (!targets.includes(this.pid) && this.#send(this.pid, signal)) return;
    this.#denied.resolve(target);
    if (signal === 'SIGKILL') this.#unkillable.resolve();
  }

  /** Asks the kernel, before a stop needs it, whether a signal would reach kuma-dp or what started it. */
  checkReach(): void {
    const target = this.#target();
    if (![target, this.pid].some((pid) => this.#send(pid, 0))) this.#denied.resolve(target);
  }

  /** Called when the started process has ended. Settles when a kuma-dp that it left behind has ended too. */
  async outlived(exit: ChildExit): Promise<void> {
    this.#ended = true;
    if (exit.code === 0 && this.#kumaDp === undefined) await this.#findDetached();
    while (this.#kumaDp !== undefined && isAlive(this.#kumaDp)) await pause(systemClock, POLL_MS);
  }

  async #findDetached(): Promise<void> {
    for (let waitedMs = 0; waitedMs < DETACHING_MS && hasAdopted(); waitedMs += POLL_MS) {
      const pid = kumaDpAmong(process.pid);
      this.#kumaDp = pid === undefined ? undefined : processRef(pid);
      if (this.#kumaDp === undefined) await pause(systemClock, POLL_MS);
      else {
        this.#detached.resolve(this.#kumaDp);
        return;
      }
    }
  }

  /** @returns whether this user may signal it; `true` for a process that has ended */
  #send(pid: number, signal: SignalName | 0): boolean {
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

function hasAdopted(): boolean {
  try {
    return adoptedChildren().length > 0;
  } catch {
    return false;
  }
}

function isAlive({ pid, startTicks }: ProcessRef): boolean {
  return processRef(pid)?.startTicks === startTicks;
}

function send(pid: number, signal: SignalName | 0): boolean {
  try {
    process.kill(pid, signal === 0 ? signal : (realTimeNumber(signal) ?? signal));
    return true;
  } catch (error) {
    // The process may have ended meanwhile.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
