import os from 'node:os';
import process from 'node:process';

import type { SignalSets } from './inherited.pure.ts';

/**
 * Every signal that may be sent to a kuma-dp and can be caught. The rest keep their default action: STOP and KILL
 * cannot be caught, TSTP and TTIN/TTOU reach the whole foreground job from the terminal, the fatal ones are bugs.
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
] as const satisfies readonly NodeJS.Signals[];

export interface SignalSource {
  /** Hands over what came so far, in order, then everything that comes. */
  onSignal(receive: (signal: NodeJS.Signals) => void): void;
  /** For what has no stop of its own: every signal does again what it does by default, also one that came already. */
  release(): void;
  /** Ends the process as an uncaught `signal` would. */
  dieOf(signal: NodeJS.Signals): void;
}

/** kuma-dp asks for these, and gets them even where they were ignored before it was started. */
const KUMA_DP_CATCHES: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT', 'SIGUSR2']);

/**
 * Installs the handlers at once: from here on no signal is lost, even before a listener is set.
 *
 * @param inherited a signal that was ignored when this process was started, as by nohup(1), stays ignored
 */
export function catchSignals({ ignored }: SignalSets): SignalSource {
  const isIgnored = (signal: NodeJS.Signals): boolean =>
    !KUMA_DP_CATCHES.has(signal) && ((ignored >> BigInt(os.constants.signals[signal] - 1)) & 1n) === 1n;
  const early: NodeJS.Signals[] = [];
  let deliver = (signal: NodeJS.Signals): void => {
    early.push(signal);
  };
  const handle = (signal: NodeJS.Signals): void => {
    if (!isIgnored(signal)) deliver(signal);
  };
  for (const signal of CAUGHT_SIGNALS) process.on(signal, handle);
  return {
    onSignal(receive) {
      for (const signal of early.splice(0)) receive(signal);
      deliver = receive;
    },
    release() {
      for (const signal of CAUGHT_SIGNALS) if (!isIgnored(signal)) process.off(signal, handle);
      for (const signal of early.splice(0)) process.kill(process.pid, signal);
    },
    dieOf(signal) {
      // Only this one goes back to its default action, which Node gives to a signal whose last listener has gone, even
      // to those that it ignores from its start. The others stay caught: none of them may end us differently.
      if (signal !== 'SIGKILL' && signal !== 'SIGSTOP') {
        process.on(signal, handle);
        process.removeAllListeners(signal);
      }
      process.kill(process.pid, signal);
    },
  };
}
