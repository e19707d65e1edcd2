import type { Clock } from '../../kernel/clock.ts';

export interface AttachQueueOptions {
  readonly clock: Clock;
  /** How many are attached at once. */
  readonly together: number;
}

/**
 * `start`: a kuma-dp waits for it, for 800 ms at most. `return`: the store knows it, and it is on its way back. These
 * two take turns; `other` agents come after them. The newest start goes first: if more come than can be served, the
 * oldest have started without the companion, and in the order of arrival all of them would be late.
 */
export type Lane = 'start' | 'return' | 'other';

export interface QueuedAttach {
  readonly lane: Lane;
  /** Whether its caller has hung up: then it loses its place. */
  readonly hasGone: () => boolean;
  /** Called with its expected wait, and again when that grows. `undefined`: this caller cannot wait. */
  readonly onWait: ((withinMs: number) => void) | undefined;
}

interface Waiting extends QueuedAttach {
  readonly admit: (done: (() => void) | undefined) => void;
  /** The promised time of its turn, monotonic. */
  promisedMs: number;
}

const LANES: readonly Lane[] = ['start', 'return', 'other'];
/** A shorter wait is not worth a message. */
const WORTH_SAYING_MS = 1_000;
/** Factor between the expected and the promised wait. */
const MARGIN = 2;
const SAY_AGAIN_MS = 1_000;
/** Weight of the newest sample in the average duration of an attach. */
const NEWEST = 0.05;

/**
 * Attaches agents in order, as many at once as the store takes in one batch. If a herd attached all at once, all would
 * finish at once, and most callers would have given up and retried by then.
 */
export class AttachQueue {
  readonly #options: AttachQueueOptions;
  /** In the order of their arrival. */
  readonly #lanes: Readonly<Record<Lane, Waiting[]>> = { start: [], return: [], other: [] };
  /** Which of `start` and `return` the queue admitted from last. */
  #last: Lane = 'return';
  #underWay = 0;
  /** The time between two ends while others wait. */
  #eachMs = 1;
  #lastEndMs: number | undefined;
  #speaks = false;

  constructor(options: AttachQueueOptions) {
    this.#options = options;
  }

  get waiting(): number {
    const { start, return: returning, other } = this.#lanes;
    return start.length + returning.length + other.length;
  }

  /** @returns the function that releases the turn, to be called once; `undefined` if the caller has hung up */
  enter(candidate: QueuedAttach): Promise<(() => void) | undefined> {
    if (this.#underWay < this.#options.together && this.waiting === 0) return Promise.resolve(this.#begin());
    return new Promise((admit) => {
      const waiting: Waiting = { ...candidate, admit, promisedMs: Number.POSITIVE_INFINITY };
      const last = this.#lanes[candidate.lane].push(waiting) - 1;
      const withinMs = this.#waitOf(candidate.lane, last);
      if (withinMs >= WORTH_SAYING_MS) this.#say(waiting, withinMs);
      this.#speakSoon();
    });
  }

  #begin(): () => void {
    this.#underWay += 1;
    return () => {
      this.#underWay -= 1;
      this.#noteEnd();
      this.#admitNext();
    };
  }

  #admitNext(): void {
    while (this.#underWay < this.#options.together) {
      const lane = this.#nextLane();
      const waiting = lane === 'start' ? this.#lanes.start.pop() : this.#lanes[lane].shift();
      if (waiting === undefined) return;
      if (lane !== 'other') this.#last = lane;
      waiting.admit(waiting.hasGone() ? undefined : this.#begin());
    }
  }

  #nextLane(): Lane {
    const inTurn = this.#last === 'start' ? (['return', 'start'] as const) : (['start', 'return'] as const);
    return inTurn.find((lane) => this.#lanes[lane].length > 0) ?? 'other';
  }

  /** The expected wait of the agent at index `at` of its lane, ms. */
  #waitOf(lane: Lane, at: number): number {
    const { start, return: returning } = this.#lanes;
    const before = lane === 'start' ? start.length - 1 - at : at;
    const between =
      lane === 'other'
        ? start.length + returning.length
        : Math.min(before, (lane === 'start' ? returning : start).length);
    return (before + between) * this.#eachMs;
  }

  #noteEnd(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.waiting > 0 && this.#lastEndMs !== undefined)
      this.#eachMs += NEWEST * (nowMs - this.#lastEndMs - this.#eachMs);
    this.#lastEndMs = this.waiting > 0 ? nowMs : undefined;
  }

  readonly #sayAgain = (): void => {
    this.#speaks = false;
    const nowMs = this.#options.clock.monotonicMs();
    for (const lane of LANES) {
      for (const [at, waiting] of this.#lanes[lane].entries()) {
        const withinMs = this.#waitOf(lane, at);
        const isNews =
          nowMs + withinMs > waiting.promisedMs || waiting.promisedMs === Number.POSITIVE_INFINITY;
        if (isNews && withinMs >= WORTH_SAYING_MS) this.#say(waiting, withinMs);
      }
    }
    if (this.waiting > 0) this.#speakSoon();
  };

  #speakSoon(): void {
    if (!this.#speaks) this.#options.clock.after(SAY_AGAIN_MS, this.#sayAgain);
    this.#speaks = true;
  }

  #say(waiting: Waiting, withinMs: number): void {
    waiting.promisedMs = this.#options.clock.monotonicMs() + MARGIN * withinMs;
    waiting.onWait?.(MARGIN * withinMs);
  }
}
