import { closeSync, constants, fstatSync, openSync, readSync, statSync, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

export interface ReadBounds {
  /** A larger file is an error; 1 MiB if left out. */
  readonly mostBytes?: number;
  /** A link at its end is an error: its folder belongs to another user. */
  readonly noLink?: boolean;
}

/** The path does not lead to a file that may be read. */
export class UnreadableFile extends Error {}

const MOST_BYTES = 1024 * 1024;
const PART_BYTES = 64 * 1024;
/** Opens without making it the controlling terminal, and without waiting for the writer of a FIFO. */
const READ_ONLY = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * The one way to read a file that a less privileged user may have left or replaced: nothing but a regular file is read,
 * no FIFO or device is waited for, and no more of it than a limit, however fast it grows.
 *
 * @throws {@link UnreadableFile}; else what Node throws, such as ENOENT
 */
export async function readRegularFile(path: string, bounds: ReadBounds = {}): Promise<Buffer> {
  await using file = await open(path, flagsOf(bounds)).catch(asUnreadable);
  expectRegular(await file.stat());
  const parts = new Parts(bounds);
  while (parts.take((await file.read(parts.next, 0, PART_BYTES, null)).bytesRead)) void 0;
  return parts.whole;
}

/** As {@link readRegularFile}, at once. */
export function readRegularFileSync(path: string, bounds: ReadBounds = {}): Buffer {
  const file = openAtOnce(path, bounds);
  try {
    expectRegular(fstatSync(file));
    const parts = new Parts(bounds);
    while (parts.take(readSync(file, parts.next, 0, PART_BYTES, null))) void 0;
    return parts.whole;
  } finally {
    closeSync(file);
  }
}

/** The file so far. Its size says nothing: the file may grow, and files of /proc have none. */
class Parts {
  readonly #mostBytes: number;
  readonly #parts: Buffer[] = [];
  #length = 0;
  next = Buffer.alloc(PART_BYTES);

  constructor({ mostBytes = MOST_BYTES }: ReadBounds) {
    this.#mostBytes = mostBytes;
  }

  get whole(): Buffer {
    return Buffer.concat(this.#parts, this.#length);
  }

  /** Keeps the first `bytes` of `next`. @returns whether there may be more */
  take(bytes: number): boolean {
    this.#length += bytes;
    if (this.#length > this.#mostBytes)
      throw new UnreadableFile(`it is larger than ${this.#mostBytes} bytes`);
    this.#parts.push(this.next.subarray(0, bytes));
    this.next = Buffer.alloc(PART_BYTES);
    return bytes > 0;
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

function expectRegular(found: Stats): void {
  if (!found.isFile()) throw new UnreadableFile('it is not a regular file');
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

/**
 * Changes whenever the file may have: a replaced one has another inode, a rewritten one another time. The time of the
 * last change of its inode finds what keeps the other two, such as `rsync --inplace --times` or a corrected mode.
 * Where there is no file to look at, it says why.
 */
export function versionOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}
