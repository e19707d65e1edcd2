import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import process from 'node:process';
import { setImmediate } from 'node:timers';
import { setTimeout as delay } from 'node:timers/promises';

import { kernelCalls } from '../../program/kernel-calls.ts';
import { childrenOf } from './process-tree.io.ts';

/** A child that ends by itself gets so long; a killed one as well. */
const PATIENCE_MS = 100;

const living = new Set<ChildProcess>();
const changes = new EventTarget();

/** Knows every child that this process starts from now on. */
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
 * What a command leaves behind when it sends itself to the background becomes a child of this process, as it does for
 * PID 1. This process waits for it when it ends, so that no zombie is left.
 */
export function adoptOrphans(): void {
  const calls = kernelCalls();
  if (calls === undefined || calls.adopt() !== 0) return;
  const reap = (): void => {
    calls.reap(Int32Array.from(ownPids()));
  };
  process.on('SIGCHLD', () => {
    reap();
    // One of its own may have stood in front, which Node has waited for by then.
    setImmediate(reap);
  });
}

/** The children that others left to this process. @throws if this user cannot look */
export function adoptedChildren(): readonly number[] {
  const own = new Set(ownPids());
  return childrenOf(process.pid).filter((pid) => !own.has(pid));
}

/**
 * Settles when no child is left that this process has to wait for: where PID 1 waits for none, it would stay a zombie.
 * Kills what has not ended soon.
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
