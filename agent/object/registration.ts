import { isAborted } from '../../kernel/aborted.ts';
import { pause, sleep, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { describeKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import type { RotationAnswer, RotationOrder } from '../../kuma/rotation.ts';
import { settleMs } from './settle.pure.ts';
import type { Confirmed, Deregistration } from '../stop/stop-report.pure.ts';
import { EndpointWatch, type LastLook } from './endpoint-watch.ts';
import type { AgentEvents } from '../events.ts';
import { firstAnswer, type HedgedAnswer, type HedgedCall } from './hedging.ts';
import type { Departure, Endpoint } from '../ports.ts';

export interface RegistrationDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly random: () => number;
  /** In the order in which they are asked. */
  readonly endpoints: readonly Endpoint[];
  readonly departure: Departure;
  /** `false` for an external dataplane: everything but the deletion happens. */
  readonly mayDelete: boolean;
  /** `auto`: as long as the control plane's own intervals say. */
  readonly settle: number | 'auto';
  /** What a departure depends on was learnt, for the first time or again. */
  readonly onFacts?: () => void;
}

interface Question<T> {
  /** Imperative phrase for error messages. */
  readonly action: string;
  readonly budgetMs: number;
  readonly attempt: HedgedCall<T>['attempt'];
  readonly cancel?: AbortSignal;
  readonly onFailure?: (error: unknown) => void;
}

/** Nothing waits for an object to be made ready. */
const READY_BUDGET_MS = 5_000;
/** How long an attempt to deregister may still take once somebody asked for the second time. */
const HASTENED_MS = 1_000;
/** Whoever is asked then must have answered before that is over. */
const HASTENED_ANSWER_MS = 900;
/** A drain is asked for by somebody who waits; what fails is tried again. */
const ROTATE_BUDGET_MS = 3_000;
const CONFIRM_INTERVAL_MS = 300;
/** How long a stop waits for a PUT that is under way. */
const ANNOUNCE_GRACE_MS = 500;

/** The dataplane's entry at its control plane: put, made ready, taken away, looked after. */
export class Registration {
  readonly #deps: RegistrationDeps;
  readonly #hasten = new AbortController();
  readonly #name: string;
  readonly #watch: EndpointWatch;
  #facts: ControlPlaneFacts = DEFAULT_FACTS;
  #deregistration: Promise<Deregistration> | undefined;
  /** What an endpoint said that has written the departure down. */
  #handedOver: OperationalError | undefined;
  #announcing: Promise<unknown> = Promise.resolve();

  constructor(deps: RegistrationDeps) {
    this.#deps = deps;
    const { key } = deps.departure;
    this.#name = describeKey(key);
    this.#watch = new EndpointWatch({
      ...deps,
      key,
      learn: (facts) => {
        this.learn(facts);
      },
    });
  }

  get facts(): ControlPlaneFacts {
    return this.#facts;
  }

  get settleMs(): number {
    return this.#deps.settle === 'auto' ? settleMs(this.#facts) : this.#deps.settle;
  }

  get mayDelete(): boolean {
    return this.#deps.mayDelete;
  }

  /** Somebody else than a check has told what a departure depends on. */
  learn(facts: ControlPlaneFacts): void {
    this.#facts = facts;
    this.#deps.onFacts?.();
  }

  /** Checks every endpoint now and again, so that a stop finds open connections. Ends with `signal`. */
  keepWarm(signal: AbortSignal): void {
    this.#watch.run(signal);
  }

  /** Puts the object, not ready. Must end before kuma-dp starts. */
  async announce(template: DataplaneResource, budgetMs: number, cancel: AbortSignal): Promise<void> {
    const { departure } = this.#deps;
    await this.#ask({
      action: `put dataplane ${this.#name}`,
      budgetMs,
      attempt: (endpoint, signal) => endpoint.announce(departure, template, signal),
      cancel,
    });
  }

  /**
   * Makes the object ready; tries until it is, or until `stopped`, or until it is somebody else's.
   *
   * A PUT that the control plane has received cannot be called back, and after the DELETE it would create the object
   * again. So a stop waits for the attempt under way, though not long.
   *
   * @returns whether the object is ready
   */
  async announceReady(template: DataplaneResource, stopped: AbortSignal): Promise<boolean> {
    const { clock, random, events, departure } = this.#deps;
    for (let warned = false; !isAborted(stopped); warned = true) {
      try {
        await this.#untilNothingIsSent(stopped, {
          action: `make dataplane ${this.#name} ready`,
          budgetMs: READY_BUDGET_MS,
          attempt: (endpoint, signal) => endpoint.announceReady(departure, template, signal),
        });
        return true;
      } catch (error) {
        if (isAborted(stopped)) return false;
        if (!warned) events.announcementFailed(error);
        if (error instanceof OperationalError && error.code === 'DATAPLANE_FOREIGN') return false;
        await pause(clock, 500 + random() * 1_000, stopped);
      }
    }
    return false;
  }

  /**
   * Takes the stored object out of rotation or back, or looks at it. Like {@link announceReady}, it never leaves a PUT
   * behind that a stop does not know of.
   */
  async rotate(order: RotationOrder, stopped: AbortSignal): Promise<RotationAnswer> {
    const { departure } = this.#deps;
    const { value } = await this.#untilNothingIsSent(stopped, {
      action: `turn dataplane ${this.#name}`,
      budgetMs: ROTATE_BUDGET_MS,
      attempt: (endpoint, signal) => endpoint.rotate(departure, order, signal),
    });
    return value;
  }

  /**
   * Puts the object once more, not ready, if it is not there. As {@link rotate} for a stop.
   *
   * @returns whether it was missing
   */
  async announceAgain(template: DataplaneResource, stopped: AbortSignal): Promise<boolean> {
    const { found } = await this.rotate({ turn: 'look' }, stopped);
    if (found) return false;
    const { departure } = this.#deps;
    await this.#untilNothingIsSent(stopped, {
      action: `put dataplane ${this.#name} again`,
      budgetMs: ROTATE_BUDGET_MS,
      attempt: (endpoint, signal) => endpoint.announce(departure, template, signal),
    });
    return true;
  }

  get endpoints(): readonly LastLook[] {
    return this.#watch.looks;
  }

  /** Takes the object away by `byMs` (monotonic). Never throws. Called again meanwhile, it joins the same attempt. */
  deregister(byMs: number): Promise<Deregistration> {
    this.#deregistration ??= this.#deregister(byMs).finally(() => {
      this.#deregistration = undefined;
    });
    return this.#deregistration;
  }

  /**
   * Somebody asked for the second time: the attempt under way gets one more second. A companion that waits for its
   * control plane would not have answered by then, although it has the departure on disk: it is asked how far it is.
   */
  hasten(): void {
    for (const endpoint of this.#deps.endpoints) {
      if (endpoint.remembers === true) void this.#askOnceMore(endpoint);
    }
    const disarm = this.#deps.clock.after(HASTENED_MS, () => {
      this.#hasten.abort(
        new OperationalError('DEADLINE_EXCEEDED', `Gave up to deregister ${this.#name}: asked twice to stop`),
      );
    });
    void this.#deregistration?.then(disarm);
  }

  /** kuma-dp has ended and nothing waits any longer: the attempt under way ends now. */
  giveUp(): void {
    this.#hasten.abort(
      new OperationalError('DEADLINE_EXCEEDED', `Gave up to deregister ${this.#name}: kuma-dp has ended`),
    );
  }

  /** Whether the object is still gone at the end, by `byMs` (monotonic). Never throws. */
  async confirm(byMs: number): Promise<Confirmed> {
    const { clock, departure, mayDelete } = this.#deps;
    if (!mayDelete) return { outcome: 'left', reason: 'it is not ours to delete' };
    let last: Confirmed = { outcome: 'unknown', reason: 'there was no time to look' };
    while (clock.monotonicMs() < byMs) {
      try {
        const { value } = await this.#ask({
          action: `confirm that dataplane ${this.#name} is gone`,
          budgetMs: byMs - clock.monotonicMs(),
          attempt: (endpoint, signal) => endpoint.confirm(departure, signal),
        });
        if (value.verdict === 'gone') return { outcome: 'gone' };
        if (value.verdict === 'deleted') return { outcome: 'deleted again' };
        last = { outcome: 'left', reason: value.reason };
        if (value.verdict === 'leave') return last;
      } catch (error) {
        // What was seen once says more than that there was no time to see it again.
        if (last.outcome !== 'left') last = { outcome: 'unknown', reason: describeError(error) };
      }
      await sleep(clock, Math.min(CONFIRM_INTERVAL_MS, Math.max(0, byMs - clock.monotonicMs())));
    }
    return last;
  }

  close(): void {
    for (const endpoint of this.#deps.endpoints) endpoint.close();
  }

  /** A deregistration waits for the end of this, whatever that is. */
  async #untilNothingIsSent<T>(
    stopped: AbortSignal,
    question: Omit<Question<T>, 'cancel'>,
  ): Promise<HedgedAnswer<T>> {
    stopped.throwIfAborted();
    const attempt = this.#askUntilStopped(stopped, question);
    this.#announcing = Promise.allSettled([this.#announcing, attempt]).then(() => {});
    return attempt;
  }

  /** The attempt is cancelled a moment after the stop, not with it. */
  async #askUntilStopped<T>(
    stopped: AbortSignal,
    question: Omit<Question<T>, 'cancel'>,
  ): Promise<HedgedAnswer<T>> {
    const { clock } = this.#deps;
    const givenUp = new AbortController();
    let disarm: (() => void) | undefined;
    const onStop = (): void => {
      disarm = clock.after(ANNOUNCE_GRACE_MS, () => {
        givenUp.abort(stopped.reason);
      });
    };
    stopped.addEventListener('abort', onStop, { once: true });
    try {
      return await this.#ask({ ...question, cancel: givenUp.signal });
    } finally {
      disarm?.();
      stopped.removeEventListener('abort', onStop);
    }
  }

  /** Whatever comes of it, the attempt under way goes on: the companion joins the two. */
  async #askOnceMore(endpoint: Endpoint): Promise<void> {
    const { clock, departure } = this.#deps;
    const endsAtMs = clock.monotonicMs() + HASTENED_ANSWER_MS;
    await this.#announcing;
    const budgetMs = endsAtMs - clock.monotonicMs();
    try {
      await withDeadline(
        { clock, action: `hand ${this.#name} over to ${endpoint.url}`, budgetMs },
        ({ signal }) => endpoint.deregister(departure, signal, budgetMs),
      );
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  #noteFailure(error: unknown): void {
    if (isHandedOver(error)) this.#handedOver = error;
  }

  async #deregister(byMs: number): Promise<Deregistration> {
    const { clock, departure, mayDelete } = this.#deps;
    if (!mayDelete) {
      return {
        outcome: 'kept',
        reason: 'external dataplane: not ours to delete',
        endpoint: undefined,
        attempts: 0,
      };
    }
    let attempts = 0;
    let lastFailure: unknown;
    try {
      await this.#announcing;
      const answer = await this.#ask({
        action: `deregister dataplane ${this.#name}`,
        budgetMs: byMs - clock.monotonicMs(),
        attempt: (endpoint, signal, budgetMs) => {
          attempts += 1;
          return endpoint.deregister(departure, signal, budgetMs);
        },
        cancel: this.#hasten.signal,
        onFailure: (error) => {
          lastFailure = error;
          this.#noteFailure(error);
        },
      });
      return { outcome: 'gone', reason: answer.value, endpoint: answer.endpoint, attempts: answer.attempts };
    } catch (error) {
      const foreign = error instanceof OperationalError && error.code === 'DATAPLANE_FOREIGN';
      if (!foreign && this.#handedOver !== undefined) return handOver(this.#handedOver, attempts);
      const cause =
        lastFailure === undefined || lastFailure === error ? '' : `; last: ${describeError(lastFailure)}`;
      return {
        outcome: foreign ? 'kept' : 'failed',
        reason: `${describeError(error)}${cause}`,
        endpoint: undefined,
        attempts,
      };
    }
  }

  #ask<T>(question: Question<T>): Promise<HedgedAnswer<T>> {
    const { clock, random, endpoints } = this.#deps;
    const { action, budgetMs, attempt, cancel, onFailure } = question;
    return withDeadline(
      { clock, action, budgetMs: Math.max(0, budgetMs), ...(cancel === undefined ? {} : { cancel }) },
      (scope) =>
        firstAnswer({
          clock,
          random,
          endpoints,
          action,
          scope,
          attempt,
          ...(onFailure === undefined ? {} : { onFailure }),
        }),
    );
  }
}

/** Not gone yet, but an endpoint has written down that it is to go. */
function isHandedOver(error: unknown): error is OperationalError {
  return error instanceof OperationalError && error.details['handedOver'] === true;
}

function handOver(error: OperationalError, attempts: number): Deregistration {
  const { endpoint } = error.details;
  return {
    outcome: 'handed over',
    reason: error.message,
    endpoint: typeof endpoint === 'string' ? endpoint : undefined,
    attempts,
  };
}
