import type { Confirmation, Endpoint } from '../../agent/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OperationalError, type ErrorCode, type ErrorDetails } from '../../kernel/errors.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DataplaneKey, DataplaneResource } from '../../kuma/dataplane.ts';
import type { RotationAnswer, RotationOrder } from '../../kuma/rotation.ts';

/** How a fake endpoint behaves in one attempt. */
export type Reply<T> = (signal: AbortSignal) => Promise<T>;

export function answers<T>(value: T): Reply<T> {
  return () => Promise.resolve(value);
}

export function fails(code: ErrorCode, details: ErrorDetails = {}): Reply<never> {
  return () => Promise.reject(new OperationalError(code, `Cannot: ${code}`, { details }));
}

/** Never answers and never notices that nobody waits any more. */
export const hangs: Reply<never> = () => new Promise<never>(() => {});

/** Answers after `delayMs`, however long the caller waits. */
export function answersLate<T>(clock: Clock, delayMs: number, value: T): Reply<T> {
  return (signal) =>
    new Promise((resolve, reject) => {
      const disarm = clock.after(delayMs, () => {
        resolve(value);
      });
      signal.addEventListener('abort', () => {
        disarm();
        reject(signal.reason as Error);
      });
    });
}

type Method = 'check' | 'deregister' | 'confirm' | 'announce' | 'announceReady' | 'rotate';

export interface FakeReplies {
  readonly check: Reply<ControlPlaneFacts>;
  readonly deregister: Reply<'deleted' | 'already gone'>;
  readonly confirm: Reply<Confirmation>;
  readonly announce: Reply<void>;
  readonly announceReady: Reply<void>;
  readonly rotate: Reply<RotationAnswer>;
}

const HEALTHY: FakeReplies = {
  check: answers(DEFAULT_FACTS),
  deregister: answers('deleted'),
  confirm: answers({ verdict: 'gone' }),
  announce: () => Promise.resolve(),
  announceReady: () => Promise.resolve(),
  rotate: answers({ found: true, changed: true, states: { ':80': 'Ready' } }),
};

/** An endpoint that does as it is told: each method has a queue of replies, the last of which repeats. */
export class FakeEndpoint implements Endpoint {
  readonly url: string;
  readonly calls: { readonly method: Method; readonly atMs: number }[] = [];
  readonly announced: DataplaneResource[] = [];
  readonly orders: RotationOrder[] = [];
  closed = false;
  readonly #clock: Clock;
  readonly #replies: { readonly [M in Method]: FakeReplies[M][] };

  constructor(
    clock: Clock,
    url: string,
    replies: { readonly [M in Method]?: FakeReplies[M] | readonly FakeReplies[M][] } = {},
  ) {
    this.#clock = clock;
    this.url = url;
    const queue = <M extends Method>(method: M): FakeReplies[M][] => {
      const given = replies[method] as FakeReplies[M] | readonly FakeReplies[M][] | undefined;
      return given === undefined ? [HEALTHY[method]] : typeof given === 'function' ? [given] : [...given];
    };
    this.#replies = {
      check: queue('check'),
      deregister: queue('deregister'),
      confirm: queue('confirm'),
      announce: queue('announce'),
      announceReady: queue('announceReady'),
      rotate: queue('rotate'),
    };
  }

  /** When each attempt of this kind began. */
  times(method: Method): readonly number[] {
    return this.calls.filter((call) => call.method === method).map(({ atMs }) => atMs);
  }

  check(_key: DataplaneKey, signal: AbortSignal): Promise<ControlPlaneFacts> {
    return this.#next('check')(signal);
  }

  deregister(_departure: unknown, signal: AbortSignal): Promise<'deleted' | 'already gone'> {
    return this.#next('deregister')(signal);
  }

  confirm(_departure: unknown, signal: AbortSignal): Promise<Confirmation> {
    return this.#next('confirm')(signal);
  }

  announce(_departure: unknown, template: DataplaneResource, signal: AbortSignal): Promise<void> {
    this.announced.push(template);
    return this.#next('announce')(signal);
  }

  announceReady(_departure: unknown, template: DataplaneResource, signal: AbortSignal): Promise<void> {
    this.announced.push(template);
    return this.#next('announceReady')(signal);
  }

  rotate(_departure: unknown, order: RotationOrder, signal: AbortSignal): Promise<RotationAnswer> {
    this.orders.push(order);
    return this.#next('rotate')(signal);
  }

  close(): void {
    this.closed = true;
  }

  #next<M extends Method>(method: M): FakeReplies[M] {
    this.calls.push({ method, atMs: this.#clock.monotonicMs() });
    const queue: FakeReplies[M][] = this.#replies[method];
    const reply = queue.length > 1 ? queue.shift() : queue[0];
    return reply ?? HEALTHY[method];
  }
}
