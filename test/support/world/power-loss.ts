import { readdirSync, readFileSync } from 'node:fs';

import type { ManagedProcess } from './managed-process.ts';

/**
 * The effect of a power loss on a dataplane: agent, kuma-dp and Envoy end at the same moment, and none of them can
 * react.
 *
 * @returns once they have ended
 */
export async function losePower(host: ManagedProcess): Promise<void> {
  signalAll([host.pid, ...descendantsOf(host.pid)], 'SIGKILL');
  await host.exited;
}

/**
 * A host that is cut off in both directions: its processes are stopped. Their connections stay open, as behind a
 * partition that drops packets.
 *
 * @returns a function that ends it
 */
export function loseContact(host: ManagedProcess): () => void {
  const pids = [host.pid, ...descendantsOf(host.pid)];
  signalAll(pids, 'SIGSTOP');
  return () => {
    signalAll(pids, 'SIGCONT');
  };
}

/** Pids of the processes that `pid` started, and of their descendants. */
export function descendantsOf(pid: number): readonly number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

/** Pids of the processes that any thread of `pid` started, as Linux lists them; empty for a process that has ended. */
export function childrenOf(pid: number): readonly number[] {
  const tasks = unlessGone(() => readdirSync(`/proc/${pid}/task`)) ?? [];
  return tasks
    .map((thread) => unlessGone(() => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')) ?? '')
    .flatMap((children) => children.split(' ').filter(Boolean).map(Number));
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) unlessGone(() => process.kill(pid, signal));
}

/** A process may end between two looks at it. */
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
