import { writeSync } from 'node:fs';

const STDERR = 2;

/** One line as kuma-dp writes it: time, level, logger, message and fields, separated by tabs, on standard error. */
export function log(
  level: 'INFO' | 'ERROR',
  message: string,
  fields: Readonly<Record<string, unknown>> = {},
): void {
  const text = Object.keys(fields).length === 0 ? '' : `\t${JSON.stringify(fields)}`;
  print(STDERR, `${new Date().toISOString()}\t${level}\tkuma-dp.run\t${message}${text}\n`);
}

/** Writes synchronously, and drops the text rather than fail without a reader. */
export function print(descriptor: number, text: string): void {
  try {
    writeSync(descriptor, text);
  } catch {
    // Standard streams may be closed, or full pipes.
  }
}
