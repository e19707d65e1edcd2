import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

export interface ReadBounds {
  /** A larger file is an error; 1 MiB if left out. */
  readonly mostBytes?: number;
  /** A link at its end is an error: its folder belongs to another user. */
  readonly noLink?: boolean;
}

/** What was found is not a file that may be read. */
export class UnreadableFile extends Error {}

const MOST_BYTES = 1024 * 1024;
/** Without a controlling terminal, and without waiting for the writer of a FIFO. */
const READ_ONLY = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * The one way to read a file that a less privileged user may have left or replaced: nothing but a regular file is read,
 * no FIFO or device is waited for, and no more of it than a limit, however fast it grows.
 *
 * @throws {@link UnreadableFile}; else what Node throws, such as ENOENT
 */
export async function readRegularFile(path: string, bounds: ReadBounds = {}): Promise<Buffer> {
  const { mostBytes = MOST_BYTES } = bounds;
  await using file = await open(path, flagsOf(bounds)).catch(asUnreadable);
  const buffer = bufferFor(await file.stat(), mostBytes);
  let length = 0;
  for (let read = -1; read !== 0 && length < buffer.length; length += read)
    read = (await file.read(buffer, length, buffer.length - length, null)).bytesRead;
  return within(buffer, length, mostBytes);
}

/** As {@link readRegularFile}, at once. */
export function readRegularFileSync(path: string, bounds: ReadBounds = {}): Buffer {
  const { mostBytes = MOST_BYTES } = bounds;
  const file = openAtOnce(path, bounds);
  try {
    const buffer = bufferFor(fstatSync(file), mostBytes);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(file, buffer, length, buffer.length - length, null);
    return within(buffer, length, mostBytes);
  } finally {
    closeSync(file);
  }
}

function openAtOnce(path: string, bounds: ReadBounds): number {
  try {
    return openSync(path, flagsOf(bounds));
  } catch (error) {
    return asUnreadable(error);
  }
}

function flagsOf({ noLink = false }: ReadBounds): number {
  return noLink ? READ_ONLY | constants.O_NOFOLLOW : READ_ONLY;
}

function bufferFor(found: Stats, mostBytes: number): Buffer {
  if (!found.isFile()) throw new UnreadableFile('it is not a regular file');
  return Buffer.alloc(Math.min(found.size, mostBytes) + 1);
}

function within(buffer: Buffer, length: number, mostBytes: number): Buffer {
  if (length > mostBytes) throw new UnreadableFile(`it is larger than ${mostBytes} bytes`);
  return buffer.subarray(0, length);
}

/** open(2): ELOOP is what O_NOFOLLOW says of a link, ENXIO what a socket and an absent device say. */
const REASONS: Readonly<Record<string, string>> = {
  ELOOP: 'it is a symbolic link',
  ENXIO: 'it is not a regular file',
  ENODEV: 'it is not a regular file',
};

function asUnreadable(cause: unknown): never {
  const reason = REASONS[(cause as NodeJS.ErrnoException).code ?? ''];
  throw reason === undefined ? cause : new UnreadableFile(reason, { cause });
}
