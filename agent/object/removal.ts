import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, hasCode, OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { Deregistration } from '../stop/phases.pure.ts';
import type { Departure, Endpoint } from '../ports.ts';
import type { Endpoints } from './endpoints.ts';

export interface RemovalDeps {
  readonly clock: Clock;
  readonly endpoints: Endpoints;
  readonly departure: Departure;
}

/** How long a removal may still take after the second stop request. */
const HASTENED_MS = 1_000;
/** The limit for an endpoint that is asked after the second stop request. */
const HASTENED_ANSWER_MS = 900;
const GONE = { wish: { state: 'absent' }, template: undefined } as const;

/** The wish that the object be absent, with a deadline. */
export class Removal {
  readonly #deps: RemovalDeps;
  readonly #byMs: number;
  readonly #hasten = new AbortController();
  readonly #over = Promise.withResolvers<void>();
  /** The answer of an endpoint that has recorded the departure. */
  #handedOver: OperationalError | undefined;
  #attempts = 0;
  #lastFailure: unknown;

  /** @param byMs on the monotonic clock */
  constructor(deps: RemovalDeps, byMs: number) {
    this.#deps = deps;
    this.#byMs = byMs;
  }

  /** Never throws. */
  async run(): Promise<Deregistration> {
    const { clock, departure, endpoints } = this.#deps;
    try {
      const { value, endpoint, attempts } = await endpoints.ask({
        action: `deregister dataplane ${describeKey(departure.key)}`,
        budgetMs: this.#byMs - clock.monotonicMs(),
        attempt: (each, signal, budgetMs) => {
          this.#attempts += 1;
          return each.make(departure, GONE, { signal, budgetMs, send: () => signal });
        },
        cancel: this.#hasten.signal,
        onFailure: (error) => {
          this.#lastFailure = error;
          this.#noteFailure(error);
        },
      });
      await endpoints.lookAround(endpoint);
      return { outcome: 'gone', reason: value.changed ? 'deleted' : 'already gone', endpoint, attempts };
    } catch (error) {
      return this.#failed(error);
    } finally {
      this.#over.resolve();
    }
  }

  /**
   * At the second stop request the attempt gets one more second. A companion that waits for its control plane would not
   * answer in that time, although it has recorded the departure, so the agent asks for its progress.
   */
  hasten(): void {
    const { clock, endpoints, departure } = this.#deps;
    for (const endpoint of endpoints.remembering) void this.#askOnceMore(endpoint);
    const disarm = clock.after(HASTENED_MS, () => {
      const name = describeKey(departure.key);
      this.#hasten.abort(
        new OperationalError(
          'DEADLINE_EXCEEDED',
          `Stopped trying to deregister ${name}: second stop request`,
        ),
      );
    });
    void this.#over.promise.then(disarm);
  }

  /** kuma-dp has ended and nothing waits any longer: the attempt in progress ends now. */
  giveUp(): void {
    const name = describeKey(this.#deps.departure.key);
    this.#hasten.abort(
      new OperationalError('DEADLINE_EXCEEDED', `Stopped trying to deregister ${name}: kuma-dp has ended`),
    );
  }

  /** The running attempt continues in any case; the companion merges the two requests. */
  async #askOnceMore(endpoint: Endpoint): Promise<void> {
    const { clock, departure } = this.#deps;
    const action = `hand ${describeKey(departure.key)} over to ${endpoint.url}`;
    const budgetMs = HASTENED_ANSWER_MS;
    try {
      await withDeadline({ clock, action, budgetMs }, ({ signal }) =>
        endpoint.make(departure, GONE, { signal, budgetMs, send: () => signal }),
      );
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  #noteFailure(error: unknown): void {
    if (isHandedOver(error)) this.#handedOver = error;
  }

  #failed(error: unknown): Deregistration {
    const foreign = hasCode(error, 'DATAPLANE_FOREIGN');
    if (!foreign && this.#handedOver !== undefined) return handOver(this.#handedOver, this.#attempts);
    const last = this.#lastFailure;
    const cause = last === undefined || last === error ? '' : `; last: ${describeError(last)}`;
    return {
      outcome: foreign ? 'kept' : 'failed',
      reason: `${describeError(error)}${cause}`,
      endpoint: undefined,
      attempts: this.#attempts,
    };
  }
}

/** The object still exists, but an endpoint has recorded the departure. */
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
