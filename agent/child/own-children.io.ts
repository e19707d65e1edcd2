import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import process from 'node:process';
import { setImmediate } from 'node:timers';
import { setTimeout as delay } from 'node:timers/promises';

import { kernelCalls } from '../../program/kernel-calls.ts';

/** A child that ends by itself gets so long; a killed one as well. */
const PATIENCE_MS = 100;

export interface OwnChildren {
  /** Settles when no child is left whose parent would have to wait for it. Kills what has not ended soon. */
  untilNoneIsLeft(): Promise<void>;
}

/**
 * Follows every child of this process, from now on. Where PID 1 waits for none, what this process leaves would stay as a
 * zombie for ever; as PID 1 it waits for the children that others left to it.
 */
export function followOwnChildren(): OwnChildren {
  const living = new Set<ChildProcess>();
  const changes = new EventTarget();
  subscribe('child_process', (message) => {
    const { process: child } = message as { readonly process: ChildProcess };
    living.add(child);
    child.once('exit', () => {
      living.delete(child);
      changes.dispatchEvent(new Event('ended'));
    });
  });
  const pids = (): readonly number[] => [...living].flatMap(({ pid }) => pid ?? []);
  if (process.pid === 1) reapTheOthers(pids);
  const untilGone = (): Promise<unknown> =>
    pids().length === 0 ? Promise.resolve() : Promise.race([allGone(), delay(PATIENCE_MS)]);
  const allGone = (): Promise<void> =>
    new Promise((resolve) => {
      changes.addEventListener('ended', () => {
        if (pids().length === 0) resolve();
      });
    });
  return {
    async untilNoneIsLeft() {
      await untilGone();
      for (const child of living) child.kill('SIGKILL');
      await untilGone();
    },
  };
}

function reapTheOthers(own: () => readonly number[]): void {
  const reap = (): void => {
    kernelCalls()?.reap(Int32Array.from(own()));
  };
  process.on('SIGCHLD', () => {
    reap();
    // One of its own may have stood in front, which Node has waited for by then.
    setImmediate(reap);
  });
}
