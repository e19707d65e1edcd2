import type { Clock } from '../../kernel/clock.ts';
import { describeKey } from '../../kuma/dataplane.ts';
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

  /** Once the request has an answer, whatever it is, the store and the stream are the evidence. */
  async during<T>(introduction: Introduction, attach: () => Promise<T>): Promise<T> {
    const name = describeKey(introduction.key);
    this.#asked.note(name);
    this.#underWay.add(introduction);
    try {
      const answer = await attach();
      this.#asked.forget(name);
      return answer;
    } finally {
      this.#underWay.delete(introduction);
    }
  }
}
