import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import process from 'node:process';
import { setImmediate } from 'node:timers';
import { setTimeout as delay } from 'node:timers/promises';

import { kernelCalls } from '../../program/kernel-calls.ts';
import { childrenOf } from './process-tree.io.ts';

/** How long a child may take to end by itself, and again after SIGKILL. */
const PATIENCE_MS = 100;

const living = new Set<ChildProcess>();
const changes = new EventTarget();

/** Records every child that this process starts from now on. */
export function followOwnChildren(): void {
  subscribe('child_process', (message) => {
    const { process: child } = message as { readonly process: ChildProcess };
    living.add(child);
    child.once('exit', () => {
      living.delete(child);
      changes.dispatchEvent(new Event('ended'));
    });
  });
}

/**
 * Makes this process the parent of detached children, as PID 1 would be. It waits for them at its end, so that no
 * zombie is left.
 */
export function adoptOrphans(): void {
  const calls = kernelCalls();
  if (calls === undefined || calls.adopt() !== 0) return;
  const reap = (): void => {
    calls.reap(Int32Array.from(ownPids()));
  };
  process.on('SIGCHLD', () => {
    reap();
    // Node may have waited for a child of its own meanwhile.
    setImmediate(reap);
  });
}

/** Orphans that became children of this process. @throws if this user cannot look */
export function adoptedChildren(): readonly number[] {
  const own = new Set(ownPids());
  return childrenOf(process.pid).filter((pid) => !own.has(pid));
}

/**
 * Resolves when no child is left that this process must wait for: where PID 1 waits for none, such a child would stay
 * a zombie. Kills children that do not end soon.
 */
export async function untilNoChildIsLeft(): Promise<void> {
  await untilGone();
  for (const child of living) child.kill('SIGKILL');
  await untilGone();
}

async function untilGone(): Promise<void> {
  if (ownPids().length > 0) await Promise.race([allGone(), delay(PATIENCE_MS)]);
}

function allGone(): Promise<void> {
  return new Promise((resolve) => {
    changes.addEventListener('ended', () => {
      if (ownPids().length === 0) resolve();
    });
  });
}

function ownPids(): readonly number[] {
  return [...living].flatMap(({ pid }) => pid ?? []);
}
