import { describeError, OperationalError } from '../kernel/errors.ts';
import type { Log, LogFields } from '../kernel/log.ts';
import { cutTo, describeFields, inOneLine } from '../kernel/one-line.ts';
import type { LineOutput } from './line-output.ts';
import { PRIORITIES, type PipeReader } from './standard-error.ts';

type Level = keyof Log;

/** The format of the lines. */
export interface TextLook {
  readonly reader: PipeReader;
  readonly colour: boolean;
}

export interface TextLogOptions {
  readonly level: Level;
  readonly look: TextLook;
  /** Milliseconds since the Unix epoch. */
  readonly wallMs: () => number;
}

/**
 * In UTF-16 units, at most three bytes each: a line stays below the 4,096 bytes that a pipe takes in one piece
 * (PIPE_BUF), so that it is never torn by what kuma-dp and Envoy write to the same one.
 */
const LONGEST_SENTENCE = 600;
const LONGEST_LINE = 1_200;

const RANKS: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const WORDS: Readonly<Record<Level, string>> = {
  debug: 'DEBUG',
  info: 'INFO ',
  warn: 'WARN ',
  error: 'ERROR',
};
const COLOURS: Readonly<Record<Level, string>> = { debug: '2', info: '36', warn: '33', error: '31' };

/** Lines for people: one for each event, written before the call returns. */
export function textLog(output: LineOutput, { level, look, wallMs }: TextLogOptions): Log {
  const write =
    (at: Level) =>
    (event: string, message: string, fields: LogFields = {}): void => {
      if (RANKS[at] < RANKS[level]) return;
      const head = headOf(at, look, new Date(wallMs()));
      output.write(`${head}${bodyOf(message, fields, level === 'debug')} [${event}]\n`);
    };
  return { error: write('error'), warn: write('warn'), info: write('info'), debug: write('debug') };
}

/** The journal adds the time itself. An operator at a terminal knows the day. */
function headOf(level: Level, { reader, colour }: TextLook, now: Date): string {
  if (reader === 'journal') return PRIORITIES[level];
  const word = colour ? `\u001B[${COLOURS[level]}m${WORDS[level]}\u001B[0m` : WORDS[level];
  return `${reader === 'terminal' ? timeOfDay(now) : now.toISOString()} ${word} `;
}

/** Of this host's time zone. */
function timeOfDay(now: Date): string {
  const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(11, 23);
}

function bodyOf(message: string, { err, ...fields }: LogFields, places: boolean): string {
  const failure = err === undefined ? '' : `: ${describeFailure(err, places)}`;
  const sentence = inOneLine(cutTo(`${message}${failure}`, LONGEST_SENTENCE));
  const rest = describeFields(fields, sentence);
  return cutTo(rest === '' ? sentence : `${sentence} ${rest}`, LONGEST_LINE);
}

/** With what to look for in docs/operate/messages.md, or, of a bug and for those who ask for it, where it was. */
function describeFailure(err: unknown, places: boolean): string {
  const text = describeError(err);
  if (err instanceof OperationalError) {
    return `${text} (${err.code}${err.hint === undefined ? '' : `: ${err.hint}`})`;
  }
  if (!(err instanceof Error)) return text;
  const place = !places ? undefined : /^\s+(at .*)$/m.exec(err.stack ?? '')?.[1];
  return `${err.name}: ${text}${place === undefined ? '' : ` (${place})`}`;
}
