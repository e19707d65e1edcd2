/** Timers of one run of a control plane: none of them outlives it. */
export class Timers {
  readonly #armed = new Set<NodeJS.Timeout>();
  #cancelled = false;

  /** @returns `false` if the run ended in between */
  sleep(delayMs: number): Promise<boolean> {
    if (this.#cancelled) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => {
      this.#armed.delete(timer);
      this.#waiting.delete(resolve);
      resolve(true);
    }, delayMs);
    this.#armed.add(timer);
    this.#waiting.add(resolve);
    return promise;
  }

  readonly #waiting = new Set<(finished: boolean) => void>();

  every(intervalMs: number, tick: () => void): void {
    if (!this.#cancelled) this.#armed.add(setInterval(tick, intervalMs));
  }

  cancel(): void {
    this.#cancelled = true;
    for (const timer of this.#armed) clearTimeout(timer);
    for (const wake of this.#waiting) wake(false);
    this.#armed.clear();
    this.#waiting.clear();
  }
}
