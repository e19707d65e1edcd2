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
 * non-blocking itself, as with every program on Node (docs/adr/0004). A regular file never blocks. Lines that no process
 * takes are dropped.
 */
export function lineOutput(fd: number): LineOutput {
  const { target, keepUnblocked } = openWithoutBlocking(fd);
  let dropped = 0;
  let unfinished = Buffer.alloc(0);
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      try {
        keepUnblocked();
        const bytes = Buffer.concat([unfinished, Buffer.from(line)]);
        unfinished = bytes.subarray(writeSync(target, bytes));
      } catch {
        dropped += 1;
      }
    },
  };
}

interface Target {
  readonly target: number;
  /** Before each write: on Linux whether it blocks belongs to the open file, which others have as well. */
  readonly keepUnblocked: () => void;
}

const nothingToDo = (): void => {};

function openWithoutBlocking(fd: number): Target {
  const asItIs = { target: fd, keepUnblocked: nothingToDo };
  try {
    const kind = fstatSync(fd);
    if (kind.isSocket()) return { target: fd, keepUnblocked: unblocker(fd) };
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return asItIs;
    const opened = openSync(
      `/proc/self/fd/${fd}`,
      constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
    );
    if (fstatSync(opened).ino === kind.ino) return { target: opened, keepUnblocked: nothingToDo };
    closeSync(opened);
  } catch {
    // Another user opened it for us, or it is closed: the descriptor itself has to do.
  }
  return asItIs;
}

/** What a stream of Node has and its types do not show. */
interface StreamHandle {
  setBlocking?(blocking: boolean): void;
}

/**
 * Node makes every socket that it takes in non-blocking; nothing is read from or written to this one. A program on Node
 * that has the same standard error gives it back as it was when it started, blocking, as it ends: so it is said again.
 */
function unblocker(fd: number): () => void {
  const socket = new Socket({ fd, readable: false, writable: true }).unref();
  const { _handle: handle } = socket as Socket & { readonly _handle?: StreamHandle };
  return () => handle?.setBlocking?.(false);
}
