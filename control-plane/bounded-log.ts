import { RateBounds } from '../kernel/bounds.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Log, LogFields } from '../kernel/log.ts';

/**
 * Limits for the lines of one event within a minute: with the same words for one dataplane or address, for one
 * dataplane or address in all, and in all.
 */
interface Lines {
  readonly same: number;
  readonly each: number;
  readonly all: number;
}

const SPAN_MS = 60_000;

/** Events that callers can cause by the thousand. A fleet that stops at once may report ten thousand stops. */
const BOUNDED: Readonly<Record<string, Lines>> = {
  'token.refused': { same: 1, each: 20, all: 50 },
  'agent.refused': { same: 1, each: 20, all: 50 },
  'agent.superseded': { same: 3, each: 3, all: 300 },
  'agent.held': { same: 3, each: 3, all: 300 },
  'agent.reported': { same: 2, each: 2, all: 20_000 },
  'connection.refused': { same: 1, each: 1, all: 10 },
  'handshake.failed': { same: 3, each: 3, all: 30 },
  'deregistrar.failed': { same: 10, each: 10, all: 10 },
};

interface LeftOut {
  readonly level: keyof Log;
  readonly disarm: () => void;
  count: number;
}

/** A log that bounds the lines that callers cause, and counts the left-out ones at the end of each minute. */
export class BoundedLog implements Log {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #rates: ReadonlyMap<string, RateBounds>;
  readonly #leftOut = new Map<string, LeftOut>();

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
    this.#rates = new Map(
      Object.entries(BOUNDED).map(([event, { same, each, all }]) => [
        event,
        new RateBounds(clock, SPAN_MS, { subject: same, address: each, all }),
      ]),
    );
  }

  error(event: string, message: string, fields?: LogFields): void {
    this.#say('error', event, [message, fields]);
  }

  warn(event: string, message: string, fields?: LogFields): void {
    this.#say('warn', event, [message, fields]);
  }

  info(event: string, message: string, fields?: LogFields): void {
    this.#say('info', event, [message, fields]);
  }

  debug(event: string, message: string, fields?: LogFields): void {
    this.#say('debug', event, [message, fields]);
  }

  /** Logs what it has left out so far. */
  flush(): void {
    for (const event of this.#leftOut.keys()) this.#tellLeftOut(event);
  }

  #say(level: keyof Log, event: string, [message, fields]: readonly [string, LogFields | undefined]): void {
    const about = subjectOf(fields);
    const over = this.#rates.get(event)?.use({ subject: `${about} ${message}`, address: about });
    if (over === undefined) this.#log[level](event, message, fields);
    else this.#leaveOut(level, event);
  }

  #leaveOut(level: keyof Log, event: string): void {
    const known = this.#leftOut.get(event);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    const disarm = this.#clock.after(SPAN_MS, () => {
      this.#tellLeftOut(event);
    });
    this.#leftOut.set(event, { level, disarm, count: 1 });
  }

  #tellLeftOut(event: string): void {
    const leftOut = this.#leftOut.get(event);
    if (leftOut === undefined) return;
    const { level, disarm, count } = leftOut;
    this.#leftOut.delete(event);
    disarm();
    this.#log[level](event, `${count} more like these within a minute`, { count });
  }
}

/** The subject of a line. */
function subjectOf(fields: LogFields | undefined): string {
  const { limit, address, dataplane } = fields ?? {};
  return [limit, address, dataplane].find((each) => typeof each === 'string') ?? '';
}
