import type { EndpointAttempt, Confirmation, Endpoint } from '../../agent/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OperationalError, type ErrorCode, type ErrorDetails } from '../../kernel/errors.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { RunStage } from '../../kuma/ownership.ts';
import type { Made, Want, Wish } from '../../kuma/object-wish.ts';

/** How a fake endpoint behaves in one attempt. */
export type Reply<T> = (signal: AbortSignal) => Promise<T>;

export function answers<T>(value: T): Reply<T> {
  return () => Promise.resolve(value);
}

export function fails(code: ErrorCode, details: ErrorDetails = {}): Reply<never> {
  return () => Promise.reject(new OperationalError(code, `Cannot: ${code}`, { details }));
}

/** Never answers, and never notices that the caller has given up. */
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

/** Of a `make`, by its wish: `absent` is `deregister`. */
type Method = 'check' | 'deregister' | 'confirm' | 'lookGone' | 'hide' | 'ready' | 'out';

export interface FakeReplies {
  readonly check: Reply<ControlPlaneFacts>;
  readonly deregister: Reply<'deleted' | 'already gone'>;
  readonly confirm: Reply<Confirmation>;
  /** As `confirm`, while Envoy still serves. */
  readonly lookGone: Reply<Confirmation>;
  readonly hide: Reply<Made>;
  readonly ready: Reply<Made>;
  readonly out: Reply<Made>;
}

const CHANGED: Made = { found: true, changed: true, states: { ':80': 'Ready' } };

const HEALTHY: FakeReplies = {
  check: answers(DEFAULT_FACTS),
  deregister: answers('deleted'),
  confirm: answers({ verdict: 'gone' }),
  lookGone: answers({ verdict: 'gone' }),
  hide: answers({ ...CHANGED, changed: false }),
  ready: answers(CHANGED),
  out: answers(CHANGED),
};

/** An endpoint whose replies a test queues for each method; the last one repeats. */
export class FakeEndpoint implements Endpoint {
  readonly url: string;
  readonly calls: { readonly method: Method; readonly atMs: number }[] = [];
  /** The states that callers wanted, in order. */
  readonly wants: Want[] = [];
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
      lookGone: queue('lookGone'),
      hide: queue('hide'),
      ready: queue('ready'),
      out: queue('out'),
    };
  }

  /** When each attempt of this kind began. */
  times(method: Method): readonly number[] {
    return this.calls.filter((call) => call.method === method).map(({ atMs }) => atMs);
  }

  check(_key: DataplaneKey, signal: AbortSignal): Promise<ControlPlaneFacts> {
    return this.#next('check')(signal);
  }

  async make(_departure: unknown, want: Want, attempt: EndpointAttempt): Promise<Made> {
    this.wants.push(want);
    const { state } = want.wish;
    if (state !== 'absent') return this.#next(METHODS[state])(attempt.send());
    const said = await this.#next('deregister')(attempt.signal);
    return { found: said === 'deleted', changed: said === 'deleted', states: {} };
  }

  confirm(_departure: unknown, stage: RunStage, signal: AbortSignal): Promise<Confirmation> {
    return this.#next(stage === 'serving' ? 'lookGone' : 'confirm')(signal);
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

const METHODS: Readonly<Record<Exclude<Wish['state'], 'absent'>, 'hide' | 'ready' | 'out'>> = {
  unmarked: 'out',
  hidden: 'hide',
  ready: 'ready',
  out: 'out',
};
