import { nextTick } from 'node:process';

import type { Clock } from '../../kernel/clock.ts';

const BEGAN_MS = Date.UTC(2026, 0, 1);
const SETTLED = Promise.resolve();

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  fire: (() => void) | undefined;
}

/** The true time of a simulation: a queue of what is to happen, and nothing else. What is due at once keeps its order. */
export class Timeline implements Clock {
  readonly #queue: Timer[] = [];
  #nowMs = 0;
  #order = 0;

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return BEGAN_MS + this.#nowMs;
  }

  /** In whole milliseconds, as timers are. */
  after(delayMs: number, fire: () => void): () => void {
    const dueMs = this.#nowMs + Math.ceil(Math.max(0, delayMs));
    const timer: Timer = { dueMs, order: (this.#order += 1), fire };
    this.#push(timer);
    return () => {
      timer.fire = undefined;
    };
  }

  /** Passes time. After each event, every promise that could settle settles before the next event. */
  pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    return new Promise((resolve) => {
      const step = (): void => {
        if (this.#fireNext(untilMs)) nextTick(goOn);
        else resolve();
      };
      // Node runs ticks once no microtask is left, and the microtasks of all ticks together afterwards.
      const goOn = (): void => void SETTLED.then(step);
      step();
    });
  }

  /** @returns `false` once nothing is due until then */
  #fireNext(untilMs: number): boolean {
    for (let next = this.#queue[0]; next !== undefined && next.dueMs <= untilMs; next = this.#queue[0]) {
      this.#pop();
      const { fire } = next;
      if (fire === undefined) continue;
      this.#nowMs = next.dueMs;
      fire();
      return true;
    }
    this.#nowMs = untilMs;
    return false;
  }

  #push(timer: Timer): void {
    const queue = this.#queue;
    let at = queue.push(timer) - 1;
    for (let parent = (at - 1) >> 1; at > 0; at = parent, parent = (at - 1) >> 1) {
      const above = queue[parent];
      if (above === undefined || !isSooner(timer, above)) break;
      queue[at] = above;
      queue[parent] = timer;
    }
  }

  #pop(): void {
    const queue = this.#queue;
    const last = queue.pop();
    if (last === undefined || queue.length === 0) return;
    let at = 0;
    for (;;) {
      const left = queue[2 * at + 1];
      const right = queue[2 * at + 2];
      const isRight = left !== undefined && right !== undefined && isSooner(right, left);
      const child = isRight ? right : left;
      if (child === undefined || !isSooner(child, last)) break;
      queue[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    queue[at] = last;
  }
}

function isSooner(a: Timer, b: Timer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
