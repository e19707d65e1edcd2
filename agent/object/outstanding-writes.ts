import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import type { Made, Wish } from '../../kuma/object-wish.ts';
import type { EndpointAttempt } from '../ports.ts';

/** A write that was sent and is not answered. */
interface ObjectWrite {
  readonly wish: Wish;
  readonly end: AbortController;
  readonly disarm: () => void;
}

/** How long an unanswered write may still be carried out. The agent waits this long for its answer. */
const PATIENCE_MS = 60_000;

/** Marks a failed connection over which nothing was sent. */
const NOT_SENT = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH/;

/**
 * Writes that were abandoned before their answer came. Kuma has no conditional write: an abandoned write may still be
 * carried out, over a later one. Until its answer is known, the agent does nothing that it could undo.
 */
export class OutstandingWrites {
  readonly #clock: Clock;
  readonly #sent = new Set<ObjectWrite>();
  readonly #givenUp = new Set<ObjectWrite>();
  #news = 0;
  #everSent = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether an abandoned write may still be carried out, and would undo `wish`. */
  against({ state }: Pick<Wish, 'state'>): boolean {
    const undoes = (write: ObjectWrite): boolean =>
      state === 'absent' ||
      write.wish.state === 'unmarked' ||
      (write.wish.state === 'ready') !== (state === 'ready');
    return [...this.#givenUp].some(undoes);
  }

  /** Whether this run has ever sent a write, answered or not. */
  get everSent(): boolean {
    return this.#everSent;
  }

  /** Changes when a write is abandoned and when it is over: an earlier look at the object is then out of date. */
  get news(): number {
    return this.#news;
  }

  /** Makes one attempt. If it is abandoned, its write is remembered. */
  async attempt(
    wish: Wish,
    make: (attempt: EndpointAttempt) => Promise<Made>,
    { signal, budgetMs }: Pick<EndpointAttempt, 'signal' | 'budgetMs'>,
  ): Promise<Made> {
    let write: ObjectWrite | undefined;
    const send = (): AbortSignal => {
      signal.throwIfAborted();
      write ??= this.#send(wish);
      return write.end.signal;
    };
    const onGivenUp = (): void => {
      if (write !== undefined) this.#giveUp(write);
    };
    signal.addEventListener('abort', onGivenUp, { once: true });
    try {
      const made = await make({ signal, budgetMs, send });
      if (write !== undefined) this.#end(write);
      return made;
    } catch (error) {
      if (write !== undefined && isAnswer(error)) this.#end(write);
      else onGivenUp();
      throw error;
    } finally {
      signal.removeEventListener('abort', onGivenUp);
    }
  }

  /** Stops waiting for answers. */
  close(): void {
    for (const write of this.#sent) this.#end(write);
  }

  #send(wish: Wish): ObjectWrite {
    const end = new AbortController();
    const disarm = this.#clock.after(PATIENCE_MS, () => {
      this.#end(write);
    });
    const write = { wish, end, disarm };
    this.#sent.add(write);
    this.#everSent = true;
    return write;
  }

  #giveUp(write: ObjectWrite): void {
    if (!this.#sent.has(write) || this.#givenUp.has(write)) return;
    this.#givenUp.add(write);
    this.#news += 1;
  }

  #end(write: ObjectWrite): void {
    write.disarm();
    this.#sent.delete(write);
    const wasGivenUp = this.#givenUp.delete(write);
    write.end.abort(new OperationalError('CANCELLED', 'Cancelled waiting for the answer of a write'));
    if (wasGivenUp) this.#news += 1;
  }
}

/**
 * Whether this failure proves that the write is over: refused, or never sent. A timeout or a lost connection does not.
 */
function isAnswer(error: unknown): boolean {
  if (!(error instanceof OperationalError)) return false;
  if (error.code === 'ENDPOINT_UNREACHABLE') return NOT_SENT.test(error.message);
  return error.code !== 'DEADLINE_EXCEEDED' && error.code !== 'CANCELLED';
}
