import type { Clock } from '../../kernel/clock.ts';
import type { AgentEvents } from '../events.ts';
import { describeHold, type Hold, type HoldCause } from './hold.pure.ts';

export interface HoldLogDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  /** Each change of the reason. */
  readonly onHold: (words: string | undefined) => void;
}

/** Shorter waits are not logged. */
const SAY_AFTER_MS = 1_000;

/** Logs what a drain waits for, each cause once. */
export class HoldLog {
  readonly #deps: HoldLogDeps;
  readonly #words: string[] = [];
  #held: { readonly cause: HoldCause; readonly sinceMs: number; said: boolean } | undefined;

  constructor(deps: HoldLogDeps) {
    this.#deps = deps;
  }

  /** The causes of the waits, in order. */
  get words(): readonly string[] {
    return this.#words;
  }

  note(hold: Hold | undefined): void {
    const { clock, events, onHold } = this.#deps;
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    const words = hold === undefined || hold.cause === 'quiet' ? undefined : describeHold(hold, now);
    onHold(words);
    if (hold === undefined || words === undefined) return;
    if (this.#held?.cause !== hold.cause) {
      this.#held = { cause: hold.cause, sinceMs: now.monotonicMs, said: false };
      this.#words.push(words);
    }
    if (this.#held.said || now.monotonicMs - this.#held.sinceMs < SAY_AFTER_MS) return;
    this.#held.said = true;
    events.drainHeld(words, hold.cause);
  }
}
