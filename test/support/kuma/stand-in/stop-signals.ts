import { log } from './log.ts';

const FORCED_EXIT_CODE = 1;
/** Go's status for a process that ends with a stack dump. */
const QUIT_EXIT_CODE = 2;

/**
 * The signals of kuma-dp: the first TERM or INT asks for a graceful stop, the second cuts the wait, the third ends the
 * process. USR2 drains without stopping. HUP keeps its default, QUIT dumps stacks.
 *
 * @see kuma v2.14.3 pkg/core/alias.go
 */
export class StopSignals {
  readonly #graceful = new AbortController();
  readonly #immediate = new AbortController();
  #drainRequested = false;
  #onDrain: (() => void) | undefined;
  #stops = 0;

  constructor() {
    process.on('SIGTERM', () => {
      this.#stop('terminated');
    });
    process.on('SIGINT', () => {
      this.#stop('interrupt');
    });
    process.on('SIGUSR2', () => {
      if (this.#stops > 0) return;
      this.#drainRequested = true;
      this.#onDrain?.();
    });
    process.on('SIGQUIT', () => {
      log('ERROR', 'SIGQUIT: quit');
      // oxlint-disable-next-line unicorn/no-process-exit -- this is a program
      process.exit(QUIT_EXIT_CODE);
    });
  }

  /** Aborts at the first stop signal. */
  get graceful(): AbortSignal {
    return this.#graceful.signal;
  }

  /** Aborts at the second. */
  get immediate(): AbortSignal {
    return this.#immediate.signal;
  }

  /** Calls `drain` for each USR2 before the first stop signal, one that came earlier included. */
  onDrain(drain: () => void): void {
    this.#onDrain = drain;
    if (this.#drainRequested) drain();
  }

  #stop(signal: string): void {
    this.#stops += 1;
    if (this.#stops === 1) {
      log('INFO', 'received signal, stopping instance gracefully', { signal });
      this.#graceful.abort();
    } else if (this.#stops === 2) {
      log('INFO', 'received second signal, stopping instance', { signal });
      this.#immediate.abort();
    } else {
      log('INFO', 'received third signal, force exit', { signal });
      // oxlint-disable-next-line unicorn/no-process-exit -- this is a program
      process.exit(FORCED_EXIT_CODE);
    }
  }
}
