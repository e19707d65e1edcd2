/**
 * A value that becomes known once, or never. A part that needs it waits for {@link known}, so the order of the two does
 * not matter.
 */
export class Fact<T extends object> {
  readonly #known = Promise.withResolvers<T>();
  #value: T | undefined;

  /** `undefined` until it is known. */
  get value(): T | undefined {
    return this.#value;
  }

  /** Never rejects. */
  get known(): Promise<T> {
    return this.#known.promise;
  }

  /** Later calls have no effect. */
  set(value: T): void {
    this.#value ??= value;
    this.#known.resolve(this.#value);
  }
}
