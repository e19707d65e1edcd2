/** `auto`: text where a person reads, JSON where a program does. */
export const LOG_FORMATS = ['auto', 'text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export type LogFields = Readonly<Record<string, unknown>>;

/**
 * What the program needs of a logger. `event` is `noun.past-participle`; a failure goes under `err`.
 * `error`: a person should look. `warn`: degraded but handled. `info`: lifecycle. `debug`: the rest.
 */
export interface Log {
  error(event: string, message: string, fields?: LogFields): void;
  warn(event: string, message: string, fields?: LogFields): void;
  info(event: string, message: string, fields?: LogFields): void;
  debug(event: string, message: string, fields?: LogFields): void;
}
