import { isAborted } from './aborted.ts';
import { pause, type Clock } from './clock.ts';
import type { ConnectOutcome, Contact, Target } from './tcp-findings.ts';

/** A TCP connect that has begun. */
export interface Connecting {
  /** Settles when the connect has ended; not while there is no answer. Never rejects. */
  readonly settled: Promise<void>;
  /** The outcome so far. */
  readonly outcome: () => ConnectOutcome;
  close(): void;
}

export type Connector = (target: Target) => Connecting;

export interface ContactDeps {
  readonly clock: Clock;
  readonly connect: Connector;
}

/** Linux repeats a SYN only after 1 s, so a second connect takes its place. */
const SECOND_CONNECT_MS = 350;
/** After a refusal no packet was lost: the second connect checks whether the port stays closed. */
const AFTER_REFUSAL_MS = 100;
const CONTACT_MS = 700;

/**
 * Connects twice and sends no byte. It ends when one connect is accepted, when both have ended, or with `over`. Never
 * rejects.
 */
export async function contact(
  { clock, connect }: ContactDeps,
  target: Target,
  over: AbortSignal,
): Promise<Contact> {
  const watch = new Stopwatch(clock, over);
  const first = connect(target);
  const attempts: Connecting[] = [first];
  await watch.until(SECOND_CONNECT_MS, first.settled);
  if (first.outcome() !== 'accepted')
    await watch.until(Math.min(SECOND_CONNECT_MS, watch.elapsedMs + AFTER_REFUSAL_MS));
  if (first.outcome() !== 'accepted' && !isAborted(over)) {
    attempts.push(connect(target));
    const ended = Promise.all(attempts.map(({ settled }) => settled));
    await watch.until(CONTACT_MS, Promise.race([accepted(attempts), ended]));
    // Node runs timers before it reads sockets, so one more turn reads what arrived in time.
    await pause(clock, 1, over);
  }
  const outcomes = attempts.map(({ outcome }) => outcome());
  for (const attempt of attempts) attempt.close();
  return { outcomes, latenessMs: watch.latenessMs };
}

/** Settles with the first accepted connect; never if none is accepted. */
function accepted(attempts: readonly Connecting[]): Promise<void> {
  return new Promise((resolve) => {
    for (const { settled, outcome } of attempts)
      void settled.then(() => {
        if (outcome() === 'accepted') resolve();
      });
  });
}

/** Waits relative to one start, and measures how late its timers fired. */
class Stopwatch {
  readonly #clock: Clock;
  readonly #over: AbortSignal;
  readonly #begunMs: number;
  latenessMs = 0;

  constructor(clock: Clock, over: AbortSignal) {
    this.#clock = clock;
    this.#over = over;
    this.#begunMs = clock.monotonicMs();
  }

  /** Waits until `ms` after the start, until `enough`, or until `over`. */
  async until(ms: number, enough?: Promise<unknown>): Promise<void> {
    const known = new AbortController();
    const end = (): void => {
      known.abort(new Error('No need to wait any more'));
    };
    this.#over.addEventListener('abort', end, { once: true });
    if (isAborted(this.#over)) end();
    void enough?.then(end);
    await pause(this.#clock, Math.max(0, ms - this.elapsedMs), known.signal);
    if (!known.signal.aborted) this.latenessMs = Math.max(this.latenessMs, this.elapsedMs - ms);
    this.#over.removeEventListener('abort', end);
  }

  get elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#begunMs;
  }
}
