import { Socket } from 'node:net';
import { closeSync, constants, fstatSync, openSync, readFileSync, writeSync, type Stats } from 'node:fs';

import { kernelCalls } from './kernel-calls.ts';
import { withoutSecretsIn } from './redaction.ts';
import { STANDARD_ERROR_FD } from './standard-error.ts';

/** The output for finished lines. Never throws, never waits. */
export interface LineOutput {
  write(line: string): void;
  /** Lines that could not be written, and were left out. */
  readonly dropped: number;
}

/** The last step before a line is written. */
export function withoutSecrets(output: LineOutput): LineOutput {
  return {
    get dropped() {
      return output.dropped;
    },
    write: (line) => {
      output.write(withoutSecretsIn(line));
    },
  };
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
 * Writes lines at once, so that a SIGKILL right after loses none, to a descriptor that kuma-dp shares. A blocked reader
 * must not stop the agent, and the descriptor's flags must not change, because they are kuma-dp's as well
 * (docs/develop/adr/0004). Lines that no process reads are dropped.
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

/** A regular file never blocks. Everything else is written without waiting, in the first way that works. */
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

/** A pipe or a terminal. Those that another user opened cannot be opened again, except the controlling terminal. */
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
 * The last resort: the socket becomes non-blocking for every process that has it, as every socket that Node takes in.
 * Another Node program with the same standard error makes it blocking again when it ends, so this is repeated.
 */
function unblocked(fd: number): LineWrite {
  const socket = new Socket({ fd, readable: false, writable: true }).unref();
  const { _handle: handle } = socket as Socket & { readonly _handle?: StreamHandle };
  return (bytes) => {
    handle?.setBlocking?.(false);
    return writeSync(fd, bytes);
  };
}
