import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';

type LockRelease = () => void;

/** One lock per name in this process; others wait in line, for a limited time. */
export class NameLocks {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  /** Held names, with those that wait. */
  readonly #lines = new Map<string, (() => void)[]>();

  constructor(clock: Clock, patienceMs: number) {
    this.#clock = clock;
    this.#patienceMs = patienceMs;
  }

  get size(): number {
    return this.#lines.size;
  }

  /** @returns `undefined` if another caller has it */
  tryTake(name: string): LockRelease | undefined {
    if (this.#lines.has(name)) return undefined;
    this.#lines.set(name, []);
    return this.#releaseOnce(name);
  }

  /** @throws `STORE_BUSY` when the line has not moved for long enough */
  take(name: string): Promise<LockRelease> {
    const line = this.#lines.get(name);
    const release = this.tryTake(name);
    if (release !== undefined) return Promise.resolve(release);
    return new Promise((resolve, reject) => {
      const mine = (): void => {
        disarm();
        resolve(this.#releaseOnce(name));
      };
      const disarm = this.#clock.after(this.#patienceMs, () => {
        line?.splice(line.indexOf(mine), 1);
        reject(
          new OperationalError(
            'STORE_BUSY',
            `Cannot lock ${name}: another caller has had it for ${this.#patienceMs} ms`,
          ),
        );
      });
      line?.push(mine);
    });
  }

  #releaseOnce(name: string): LockRelease {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#lines.get(name)?.shift();
      if (next === undefined) this.#lines.delete(name);
      else next();
    };
  }
}
