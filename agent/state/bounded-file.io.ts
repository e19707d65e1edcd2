import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

import { OperationalError } from '../../kernel/errors.ts';

/** Without a controlling terminal and without waiting for the writer of a FIFO; a link at the end is an error. */
const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** What a file of ours has at most, by far: a state file has 2 KiB. */
const LARGEST_BYTES = 256 * 1024;

/**
 * Reads a file that any user may have left: no link is followed, nothing but a regular file is read, and no more
 * of it than a limit, however fast it grows.
 *
 * @param limitBytes a larger file is an error
 * @throws `STATE_UNUSABLE` if it is something else than a file of that size; else what Node throws, such as ENOENT
 */
export function readBounded(path: string, limitBytes: number = LARGEST_BYTES): string {
  const file = openFile(path);
  try {
    const found = fstatSync(file);
    if (!found.isFile()) throw unusable(path, 'it is no regular file');
    const buffer = Buffer.alloc(Math.min(found.size, limitBytes) + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(file, buffer, length, buffer.length - length, null);
    if (length > limitBytes) throw unusable(path, `it is larger than ${limitBytes} bytes`);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}

/** open(2): ELOOP is what O_NOFOLLOW says of a link, ENXIO what a socket and an absent device say. */
const REASONS: Readonly<Record<string, string>> = {
  ELOOP: 'it is a symbolic link',
  ENXIO: 'it is no regular file',
  ENODEV: 'it is no regular file',
};

function openFile(path: string): number {
  try {
    return openSync(path, READ_ONLY);
  } catch (cause) {
    const reason = REASONS[(cause as NodeJS.ErrnoException).code ?? ''];
    throw reason === undefined ? cause : unusable(path, reason, cause);
  }
}

function unusable(path: string, reason: string, cause?: unknown): OperationalError {
  return new OperationalError(
    'STATE_UNUSABLE',
    `Cannot read "${path}": ${reason}`,
    cause === undefined ? {} : { cause },
  );
}
