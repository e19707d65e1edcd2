import { OperationalError } from '../../kernel/errors.ts';
import { readRegularFileSync, UnreadableFile } from '../../program/regular-file.ts';

/** A generous limit for our files: a state file has 2 KiB. */
const LARGEST_BYTES = 256 * 1024;

/**
 * Reads a file that any user may have created. It follows no link, reads only a regular file, and no more than the
 * limit, however fast the file grows.
 *
 * @param limitBytes a larger file is an error
 * @throws `STATE_UNUSABLE` if it is something else than a file of that size; else what Node throws, such as ENOENT
 */
export function readBounded(path: string, limitBytes: number = LARGEST_BYTES): string {
  try {
    return readRegularFileSync(path, { mostBytes: limitBytes, noLink: true }).toString('utf8');
  } catch (cause) {
    if (!(cause instanceof UnreadableFile)) throw cause;
    throw new OperationalError('STATE_UNUSABLE', `Cannot read "${path}": ${cause.message}`, { cause });
  }
}
