import { Socket } from 'node:net';
import os from 'node:os';
import process from 'node:process';

import { kernelCalls } from '../../program/kernel-calls.ts';
import { realTimeNumber, realTimeSignal, type SignalName } from './exit-status.pure.ts';
import type { SignalSets } from './inherited.pure.ts';

/**
 * Every named signal that a process may send to kuma-dp and that can be caught. The others keep their default action:
 * STOP and KILL cannot be caught, TSTP, TTIN and TTOU reach the whole foreground job from the terminal, and the fatal
 * ones are bugs.
 */
const CAUGHT_SIGNALS = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGQUIT',
  'SIGALRM',
  'SIGPWR',
  'SIGIO',
  'SIGCONT',
  'SIGWINCH',
  'SIGXCPU',
  'SIGVTALRM',
  'SIGPROF',
  'SIGSTKFLT',
] as const satisfies readonly NodeJS.Signals[];

/** Fatal ones that a process may send. They have no effect if they were ignored at the start; otherwise they are bugs. */
const IGNORABLE_SIGNALS = ['SIGSYS', 'SIGTRAP'] as const satisfies readonly NodeJS.Signals[];

export interface SignalSource {
  /** Delivers the signals received so far, in order, then each new one. */
  onSignal(receive: (signal: SignalName) => void): void;
  /**
   * For commands without a stop: restores the default action of every signal, and applies that action to a signal that
   * has arrived already.
   */
  release(): void;
  /** Ends the process as an uncaught `signal` would; no core file is left. */
  dieOf(signal: SignalName): void;
}

/** kuma-dp handles these even if they were ignored or blocked before it started. */
const KUMA_DP_CATCHES: ReadonlySet<SignalName> = new Set(['SIGTERM', 'SIGINT', 'SIGUSR2']);

/**
 * Installs the handlers at once: from here on no signal is lost, even before a listener is set.
 *
 * @param inherited signals that were ignored or blocked when this process was started, as by nohup(1), have no effect
 */
export function catchSignals({ ignored, blocked }: SignalSets): SignalSource {
  const meaningless = ignored | blocked;
  const meansNothing = (signal: SignalName): boolean =>
    !KUMA_DP_CATCHES.has(signal) && ((meaningless >> BigInt(numberOf(signal) - 1)) & 1n) === 1n;
  const early: SignalName[] = [];
  let deliver = (signal: SignalName): void => {
    early.push(signal);
  };
  const handle = (signal: SignalName): void => {
    if (!meansNothing(signal)) deliver(signal);
  };
  for (const signal of CAUGHT_SIGNALS) process.on(signal, handle);
  for (const signal of IGNORABLE_SIGNALS) if (meansNothing(signal)) process.on(signal, handle);
  const realTime = hearRealTime(handle);
  return {
    onSignal(receive) {
      for (const signal of early.splice(0)) receive(signal);
      deliver = receive;
    },
    release() {
      for (const signal of CAUGHT_SIGNALS) if (!meansNothing(signal)) process.off(signal, handle);
      realTime.release((number) => !meansNothing(realTimeSignal(number)));
      for (const signal of early.splice(0)) process.kill(process.pid, numberOf(signal));
    },
    dieOf(signal) {
      kernelCalls()?.noCore();
      // Restores the default action of this signal only: Node does so when its last listener is removed. The other
      // signals stay caught, because none of them may end the agent differently.
      if (realTimeNumber(signal) !== undefined) kernelCalls()?.beDefault(numberOf(signal));
      else if (signal !== 'SIGKILL' && signal !== 'SIGSTOP') {
        process.on(signal, handle);
        process.removeAllListeners(signal);
      }
      process.kill(process.pid, numberOf(signal));
    },
  };
}

export function numberOf(signal: SignalName): number {
  return realTimeNumber(signal) ?? os.constants.signals[signal as NodeJS.Signals];
}

const REAL_TIME_NUMBERS = Array.from({ length: 31 }, (_, at) => 34 + at);

/** Node catches only signals that have a name. */
function hearRealTime(handle: (signal: SignalName) => void): {
  readonly release: (which: (number: number) => boolean) => void;
} {
  const calls = kernelCalls();
  const fd = calls?.hearRealTime() ?? -1;
  const socket = fd === -1 ? undefined : tryToRead(fd);
  if (socket === undefined) return { release: () => {} };
  socket
    .on('data', (numbers: Buffer) => {
      for (const number of numbers) handle(realTimeSignal(number));
    })
    .unref();
  return {
    release(which) {
      for (const number of REAL_TIME_NUMBERS.filter(which)) calls?.beDefault(number);
    },
  };
}

/** @returns `undefined` where a filter of system calls keeps Node from it */
function tryToRead(fd: number): Socket | undefined {
  try {
    return new Socket({ fd, readable: true, writable: false });
  } catch {
    return undefined;
  }
}
