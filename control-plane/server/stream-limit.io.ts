/** Counts the streams that each caller holds open at once. */
export class StreamLimit {
  readonly #open = new Map<string, number>();

  /** Keys that hold something: nothing is remembered of the others. */
  get size(): number {
    return this.#open.size;
  }

  /** @returns what gives it back, for one call or several; `undefined` if `key` holds `most` already */
  acquire(key: string, most: number): (() => void) | undefined {
    const open = this.#open.get(key) ?? 0;
    if (open >= most) return undefined;
    this.#open.set(key, open + 1);
    let held = true;
    return () => {
      if (held) this.#release(key);
      held = false;
    };
  }

  #release(key: string): void {
    const left = (this.#open.get(key) ?? 0) - 1;
    if (left > 0) this.#open.set(key, left);
    else this.#open.delete(key);
  }
}
