import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';

/** Where finished lines go. Never throws, never waits. */
export interface LineOutput {
  write(line: string): void;
  /** Lines that could not be written, and were left out. */
  readonly dropped: number;
}

/**
 * Writes lines to a descriptor that kuma-dp shares, at once, so that a SIGKILL right after loses none.
 *
 * A reader that stopped reading must not stop us: a pipe or a terminal is opened anew without blocking, which leaves
 * the descriptor itself, and so kuma-dp's, as it was. A socket (journald's) cannot be opened anew and is written to
 * as it is; a regular file never blocks. When the reader is gone for good, lines are dropped.
 */
export function lineOutput(fd: number): LineOutput {
  const target = openWithoutBlocking(fd) ?? fd;
  let dropped = 0;
  let unfinished = Buffer.alloc(0);
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      try {
        const bytes = Buffer.concat([unfinished, Buffer.from(line)]);
        unfinished = bytes.subarray(writeSync(target, bytes));
      } catch {
        dropped += 1;
      }
    },
  };
}

function openWithoutBlocking(fd: number): number | undefined {
  try {
    const kind = fstatSync(fd);
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return undefined;
    const opened = openSync(
      `/proc/self/fd/${fd}`,
      constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
    );
    if (fstatSync(opened).ino === kind.ino) return opened;
    closeSync(opened);
  } catch {
    // Another user opened it for us, or it is closed: the descriptor itself has to do.
  }
  return undefined;
}
