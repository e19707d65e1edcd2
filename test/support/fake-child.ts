import type { ChildExit } from '../../agent/child/exit-status.pure.ts';
import type { Child } from '../../agent/ports.ts';
import type { Clock } from '../../kernel/clock.ts';

/** A process that records its signals and ends when told to, or as `reacts` says. */
export class FakeChild implements Child {
  readonly pid = 4711;
  readonly signals: { readonly signal: NodeJS.Signals; readonly atMs: number }[] = [];
  readonly exited: Promise<ChildExit>;
  /** Its reaction to the n-th signal of a kind, counted from 1. */
  reacts: (signal: NodeJS.Signals, nth: number) => void = () => {};
  readonly #clock: Clock;
  readonly #end: (exit: ChildExit) => void;
  #ended = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    const { promise, resolve } = Promise.withResolvers<ChildExit>();
    this.exited = promise;
    this.#end = resolve;
  }

  /** As kuma-dp does: the first SIGTERM drains, the second ends it, SIGKILL always does. */
  static kumaDp(clock: Clock): FakeChild {
    const child = new FakeChild(clock);
    child.reacts = (signal, nth) => {
      if (signal === 'SIGKILL') child.exit({ code: null, signal: 'SIGKILL' });
      if (signal === 'SIGTERM' && nth === 2) child.exit({ code: 0, signal: null });
    };
    return child;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended) return;
    this.signals.push({ signal, atMs: this.#clock.monotonicMs() });
    this.reacts(signal, this.signals.filter((sent) => sent.signal === signal).length);
  }

  exit(exit: ChildExit): void {
    this.#ended = true;
    this.#end(exit);
  }
}
