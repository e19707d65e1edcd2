import { isAborted, whenAborted } from '../../kernel/aborted.ts';
import { pause, type Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';

/**
 * Does one thing at a time: a requested task, otherwise `act`, repeatedly. Ends with {@link close}.
 *
 * `act` gets a signal that aborts when another state is wanted. It returns after how many ms to look again;
 * `undefined`: only when another state is wanted.
 */
export class WorkLoop {
  readonly #clock: Clock;
  readonly #act: (changed: AbortSignal) => Promise<number | undefined>;
  readonly #over = new AbortController();
  readonly #tasks: (() => Promise<void>)[] = [];
  #changed = new AbortController();

  constructor(clock: Clock, act: (changed: AbortSignal) => Promise<number | undefined>) {
    this.#clock = clock;
    this.#act = act;
    void this.#run();
  }

  /** The wish has changed: an attempt for the old one gets a moment to end. */
  wake(): void {
    this.#changed.abort(
      new OperationalError('CANCELLED', 'Cancelled a write of the object: a newer request replaced it'),
    );
  }

  /** Before `act`, and after the tasks that were asked for earlier. */
  do<T>(task: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#tasks.push(() => task().then(resolve, reject));
    this.wake();
    return promise;
  }

  close(): void {
    this.#over.abort(new OperationalError('CANCELLED', 'Cancelled: the agent ends'));
    this.wake();
  }

  async #run(): Promise<void> {
    while (!isAborted(this.#over.signal)) {
      const changed = new AbortController();
      this.#changed = changed;
      const task = this.#tasks.shift();
      if (task === undefined) await this.#pause(await this.#act(changed.signal), changed.signal);
      else await task();
    }
  }

  async #pause(pauseMs: number | undefined, changed: AbortSignal): Promise<void> {
    if (pauseMs !== undefined) return pause(this.#clock, pauseMs, changed);
    return new Promise((resolve) => {
      whenAborted(changed, resolve);
    });
  }
}
