import { Socket } from 'node:net';
import { closeSync, constants, fstatSync, openSync, readFileSync, writeSync, type Stats } from 'node:fs';

import { kernelCalls } from './kernel-calls.ts';
import { STANDARD_ERROR_FD } from './standard-error.ts';

/** The output for finished lines. Never throws, never waits. */
export interface LineOutput {
  write(line: string): void;
  /** Lines that could not be written, and were left out. */
  readonly dropped: number;
}

/** @returns how many bytes were written @throws if none can be written now */
type LineWrite = (bytes: Uint8Array) => number;

let standardError: LineOutput | undefined;

/** One writer for the whole program, so that a partly written line is finished before the next one. */
export function standardErrorLines(): LineOutput {
  standardError ??= lineOutput(STANDARD_ERROR_FD);
  return standardError;
}

/**
 * Writes lines to a descriptor that kuma-dp shares, at once, so that a SIGKILL right after loses none.
 *
 * A reader that stopped reading must not stop us, and the descriptor itself, and so kuma-dp's, must stay as it is
 * (docs/develop/adr/0004). Lines that no process takes are dropped.
 */
export function lineOutput(fd: number): LineOutput {
  const write = writerOf(fd);
  let dropped = 0;
  let unfinished = Buffer.alloc(0);
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      try {
        const bytes = Buffer.concat([unfinished, Buffer.from(line)]);
        unfinished = bytes.subarray(write(bytes));
      } catch {
        dropped += 1;
      }
    },
  };
}

/** A regular file never blocks; everything else is written to without waiting, in the first way that works. */
function writerOf(fd: number): LineWrite {
  const asItIs: LineWrite = (bytes) => writeSync(fd, bytes);
  try {
    const kind = fstatSync(fd);
    if (kind.isSocket()) return withoutWaiting(fd) ?? unblocked(fd);
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return asItIs;
    return (
      openedAnew(`/proc/self/fd/${fd}`, ({ ino }) => ino === kind.ino) ??
      openedAnew('/dev/tty', () => kind.rdev !== 0 && controllingTerminal() === kind.rdev) ??
      withoutWaiting(fd) ??
      asItIs
    );
  } catch {
    // It is closed.
    return asItIs;
  }
}

/** A pipe or a terminal; what another user opened for us cannot be opened again, but for the controlling terminal. */
function openedAnew(path: string, isRight: (opened: Stats) => boolean): LineWrite | undefined {
  try {
    const opened = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    if (isRight(fstatSync(opened))) return (bytes) => writeSync(opened, bytes);
    closeSync(opened);
  } catch {
    // Otherwise tries the next way of writing.
  }
  return undefined;
}

/** The device number of the terminal that controls this process: proc(5), field 7; the list starts at field 3. */
function controllingTerminal(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[4]);
}

function withoutWaiting(fd: number): LineWrite | undefined {
  const calls = kernelCalls();
  if (calls === undefined) return undefined;
  return (bytes) => {
    const written = calls.writeNow(fd, bytes, 1);
    if (written < 0) throw new Error(`Cannot write: error ${-written}`);
    return written;
  };
}

/** A property of Node's streams that its types lack. */
interface StreamHandle {
  setBlocking?(blocking: boolean): void;
}

/**
 * The last resort: the socket becomes non-blocking for every process that has it. Node does so with every socket that it
 * takes in; nothing is read from or written to this one. A program on Node that has the same standard error gives it back
 * as it was when it started, blocking, as it ends: so it is said again.
 */
function unblocked(fd: number): LineWrite {
  const socket = new Socket({ fd, readable: false, writable: true }).unref();
  const { _handle: handle } = socket as Socket & { readonly _handle?: StreamHandle };
  return (bytes) => {
    handle?.setBlocking?.(false);
    return writeSync(fd, bytes);
  };
}
