import type { Clock } from '../../kernel/clock.ts';

export interface AttachQueueOptions {
  readonly clock: Clock;
  /** How many are attached at once. */
  readonly together: number;
}

export interface Candidate {
  /** The store knows it, and it is on its way back: it goes before those that are new. */
  readonly expected: boolean;
  /** Whether its caller has gone: then it loses its place. */
  readonly hasGone: () => boolean;
  /** Told how long it may have to wait, and again when that grows. `undefined`: it does not know how to wait. */
  readonly onWait: ((withinMs: number) => void) | undefined;
}

interface Waiting extends Candidate {
  readonly admit: (done: (() => void) | undefined) => void;
  /** By when it was told that its turn comes, monotonic. */
  promisedMs: number;
}

/** A shorter wait is not worth a message. */
const WORTH_SAYING_MS = 1_000;
/** What is said is longer than what is expected by this factor. */
const MARGIN = 2;
const SAY_AGAIN_MS = 1_000;
/** The weight of the newest one in what an attach takes on average. */
const NEWEST = 0.05;

/**
 * Attaches in the order of their arrival, as many at once as the store takes in one batch. A herd that is let in all at
 * once finishes all at once: by then most callers have given up, and come again.
 */
export class AttachQueue {
  readonly #options: AttachQueueOptions;
  readonly #expected = new Set<Waiting>();
  readonly #others = new Set<Waiting>();
  #underWay = 0;
  /** Between two that end while others wait. */
  #eachMs = 1;
  #lastEndMs: number | undefined;
  #speaks = false;

  constructor(options: AttachQueueOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#expected.size + this.#others.size;
  }

  /** @returns what gives the turn back, to be called once; `undefined` if its caller has gone */
  enter(candidate: Candidate): Promise<(() => void) | undefined> {
    if (this.#underWay < this.#options.together && this.waiting === 0) return Promise.resolve(this.#begin());
    return new Promise((admit) => {
      const waiting: Waiting = { ...candidate, admit, promisedMs: Number.POSITIVE_INFINITY };
      const ahead = this.#expected.size + (candidate.expected ? 0 : this.#others.size);
      (candidate.expected ? this.#expected : this.#others).add(waiting);
      const withinMs = ahead * this.#eachMs;
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
    for (const queue of [this.#expected, this.#others]) {
      for (const waiting of queue) {
        if (this.#underWay >= this.#options.together) return;
        queue.delete(waiting);
        waiting.admit(waiting.hasGone() ? undefined : this.#begin());
      }
    }
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
    let ahead = 0;
    for (const queue of [this.#expected, this.#others]) {
      for (const waiting of queue) {
        const withinMs = ahead * this.#eachMs;
        const isNews =
          nowMs + withinMs > waiting.promisedMs || waiting.promisedMs === Number.POSITIVE_INFINITY;
        if (isNews && withinMs >= WORTH_SAYING_MS) this.#say(waiting, withinMs);
        ahead += 1;
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
