import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError, type ErrorCode } from '../../kernel/errors.ts';

export interface FailoverOptions<T> {
  readonly clock: Clock;
  /** At least one. The first is asked first. */
  readonly targets: readonly [T, ...T[]];
}

export interface FailoverCall {
  /** Imperative phrase for error messages: `delete dataplane default/web-1`. */
  readonly action: string;
  /** The limit for each target but the last: a target that hangs would otherwise use up the time of the others. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
}

/** Failures after which the next target is asked. A refusal is final: all targets share their objects and settings. */
const PASSED_ON: ReadonlySet<ErrorCode> = new Set([
  'ENDPOINT_UNREACHABLE',
  'ENDPOINT_UNTRUSTED',
  'ENDPOINT_BUSY',
  'ANSWER_UNREADABLE',
  'DEADLINE_EXCEEDED',
]);

/** Asks several equivalent targets, one after the other, beginning with the target that answered last. */
export class Failover<T> {
  readonly #clock: Clock;
  readonly #targets: readonly [T, ...T[]];
  #preferred: T;

  constructor({ clock, targets }: FailoverOptions<T>) {
    this.#clock = clock;
    this.#targets = targets;
    [this.#preferred] = targets;
  }

  /** @throws the reason of `signal`, the first refusal, or one error for all failures */
  async first<R>(question: FailoverCall, ask: (target: T, signal: AbortSignal) => Promise<R>): Promise<R> {
    const failures: OperationalError[] = [];
    // Parallel calls may change the preference; each call still asks every target once.
    const order = this.#order();
    for (const [asked, target] of order.entries()) {
      try {
        const last = asked === order.length - 1;
        const answer = await (last ? ask(target, question.signal) : this.#patiently(question, target, ask));
        this.#preferred = target;
        return answer;
      } catch (error) {
        if (question.signal.aborted) throw question.signal.reason;
        if (!(error instanceof OperationalError) || !PASSED_ON.has(error.code)) throw error;
        failures.push(error);
      }
    }
    throw inOne(failures);
  }

  #order(): readonly T[] {
    const start = this.#targets.indexOf(this.#preferred);
    return [...this.#targets.slice(start), ...this.#targets.slice(0, start)];
  }

  #patiently<R>(
    { action, patienceMs, signal }: FailoverCall,
    target: T,
    ask: (target: T, signal: AbortSignal) => Promise<R>,
  ): Promise<R> {
    const options = { clock: this.#clock, action, budgetMs: patienceMs, cancel: signal };
    return withDeadline(options, (scope) => ask(target, scope.signal));
  }
}

function inOne(failures: readonly OperationalError[]): unknown {
  const [first, ...others] = failures;
  if (first === undefined || others.length === 0) return first;
  const message = failures.map((failure) => failure.message).join('; ');
  return new OperationalError(first.code, message, { cause: first, details: first.details });
}
