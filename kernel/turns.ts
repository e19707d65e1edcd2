interface Turn {
  underWay: number;
  /** In the order of arrival. */
  readonly waiting: (() => void)[];
}

/**
 * Lets a few callers act at once under each key; the others wait in the order of their arrival. It remembers only keys
 * in use, and a caller that need not wait costs one entry of a map: most keys have one caller.
 */
export class Turns {
  readonly #together: number;
  readonly #turns = new Map<string, Turn>();

  constructor(together: number) {
    this.#together = together;
  }

  /** How many keys are in use. */
  get size(): number {
    return this.#turns.size;
  }

  /** @returns the function that ends the turn; a second call has no effect */
  async begin(key: string): Promise<() => void> {
    const turn = this.#turns.get(key) ?? { underWay: 0, waiting: [] };
    this.#turns.set(key, turn);
    if (turn.underWay < this.#together) turn.underWay += 1;
    else
      await new Promise<void>((begin) => {
        turn.waiting.push(begin);
      });
    let acts = true;
    return () => {
      if (acts) this.#end(key, turn);
      acts = false;
    };
  }

  /** The next caller takes over the turn, so no newcomer can come in between. */
  #end(key: string, turn: Turn): void {
    const next = turn.waiting.shift();
    if (next !== undefined) next();
    else turn.underWay -= 1;
    if (turn.underWay === 0) this.#turns.delete(key);
  }
}
