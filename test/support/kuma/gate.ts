/**
 * A gate that everything in a control plane passes: while it is closed, the control plane stands still as a stopped
 * process does.
 */
export class PauseGate {
  #opened: PromiseWithResolvers<void> | undefined;

  get closed(): boolean {
    return this.#opened !== undefined;
  }

  close(): void {
    this.#opened ??= Promise.withResolvers<void>();
  }

  open(): void {
    this.#opened?.resolve();
    this.#opened = undefined;
  }

  /** Resolves at once while open. */
  async passed(): Promise<void> {
    while (this.#opened !== undefined) await this.#opened.promise;
  }
}
