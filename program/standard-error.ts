import { withoutSecretsIn } from './redaction.ts';
import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';

import { inLines } from '../kernel/one-line.ts';

export const STANDARD_ERROR_FD = 2;

type Environment = Readonly<Record<string, string | undefined>>;

/** The reader of a descriptor, which decides the format. */
export type PipeReader = 'journal' | 'terminal' | 'other';

/**
 * systemd names the socket to the journal by its device and inode, so that a process that was redirected since is not misled.
 *
 * @see systemd.exec(5), $JOURNAL_STREAM
 */
export function readerOf(fd: number, env: Environment): PipeReader {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    if (env['JOURNAL_STREAM'] === `${dev}:${ino}`) return 'journal';
  } catch {
    return 'other';
  }
  return isatty(fd) ? 'terminal' : 'other';
}

/** @see sd-daemon(3): the journal takes `<N>` at the beginning of a line for its priority */
export const PRIORITIES = { error: '<3>', warn: '<4>', info: '<6>', debug: '<7>' } as const;

/**
 * A message to the program's caller, beside its log, with the program's name in front. The journal adds the name
 * itself, and takes a priority.
 */
export function callerLines(
  message: string,
  how: { readonly program: string; readonly level: keyof typeof PRIORITIES; readonly reader: PipeReader },
): string {
  // A part of it may come from another user's file or another program's answer.
  const text = withoutSecretsIn(inLines(message));
  if (how.reader !== 'journal') return `${how.program}: ${text}\n`;
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `${PRIORITIES[how.level]}${line}\n`)
    .join('');
}
