import type { Clock } from '../../kernel/clock.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { Introduction } from '../ports.ts';
import { RecentAsks } from './recent-asks.ts';

/** Requests to attach: those in progress, and recent ones that did not succeed. */
export class Openings implements Iterable<Introduction> {
  /** The store may or may not have recorded these already. */
  readonly #underWay = new Set<Introduction>();
  /** By name. */
  readonly #asked: RecentAsks;

  constructor(clock: Clock, rememberedMs: number) {
    this.#asked = new RecentAsks(clock, rememberedMs);
  }

  get size(): number {
    return this.#underWay.size;
  }

  [Symbol.iterator](): IterableIterator<Introduction> {
    return this.#underWay.values();
  }

  isUnderWay(name: string): boolean {
    return this.#underWay.values().some(({ key }) => describeKey(key) === name);
  }

  /** Whether an agent of this name asks, or has asked in vain not long ago: it was alive then. */
  isHeard(name: string): boolean {
    return this.#asked.has(name) || this.isUnderWay(name);
  }

  /** Call it once an agent of this name is attached: from now on its stream is the evidence. */
  succeeded(key: DataplaneKey): void {
    this.#asked.forget(describeKey(key));
  }

  async during<T>(introduction: Introduction, attach: () => Promise<T>): Promise<T> {
    this.#asked.note(describeKey(introduction.key));
    this.#underWay.add(introduction);
    try {
      return await attach();
    } finally {
      this.#underWay.delete(introduction);
    }
  }
}
