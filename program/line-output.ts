import { Socket } from 'node:net';
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
 * the descriptor itself, and so kuma-dp's, as it was. A socket, such as journald's, cannot be opened anew: it becomes
 * non-blocking itself, as with every program on Node (docs/adr/0004). A regular file never blocks. Lines that nobody
 * takes are dropped.
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
    if (kind.isSocket()) makeNonBlocking(fd);
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

/** Node has no call for it, but does it to every socket that it takes in; nothing is read from or written to this one. */
function makeNonBlocking(fd: number): void {
  new Socket({ fd, readable: false, writable: true }).unref();
}
