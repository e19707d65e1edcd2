import type { Log, LogFields } from '../../kernel/log.ts';

export interface FakeLogLine {
  readonly level: keyof Log;
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** A log that only records. */
export class FakeLog implements Log {
  readonly lines: FakeLogLine[] = [];
  /** Called with each line. */
  onLine: (line: FakeLogLine) => void = () => {};

  get events(): readonly string[] {
    return this.lines.map(({ event }) => event);
  }

  error(event: string, message: string, fields?: LogFields): void {
    this.#remember({ level: 'error', event, message, fields });
  }

  warn(event: string, message: string, fields?: LogFields): void {
    this.#remember({ level: 'warn', event, message, fields });
  }

  info(event: string, message: string, fields?: LogFields): void {
    this.#remember({ level: 'info', event, message, fields });
  }

  debug(event: string, message: string, fields?: LogFields): void {
    this.#remember({ level: 'debug', event, message, fields });
  }

  #remember(line: FakeLogLine): void {
    this.lines.push(line);
    this.onLine(line);
  }
}
