import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { Socket } from 'node:net';
import os from 'node:os';
import { getSystemErrorMessage, getSystemErrorName } from 'node:util';

import type { SpawnRequest } from '../ports.ts';
import { exactStart } from './exact-start.pure.ts';
import { exactStarter, ownStart } from './inherited.io.ts';
import type { Inherited } from './inherited.pure.ts';

type StandardIo = 'pipe' | 'ignore' | number;

/**
 * `native/exec-bytes.c` waits until this gate is opened before it becomes kuma-dp. The gate closes when the program
 * runs.
 */
export interface Gate {
  /** The number of the error if the kernel refused to execute the program. */
  readonly failure: Promise<number | undefined>;
  /** A byte that is written to it opens the gate. */
  readonly fd: number;
  /** Calls back when no other writer can split the program's bytes any more, usually at once. */
  whenWritten(then: () => void): void;
  /** No effect on an open gate. */
  open(): void;
}

/**
 * Starts kuma-dp through a program that becomes kuma-dp in the same process. That program passes on what Node cannot:
 * bytes, signals and the limit of open files. It starts nothing if the agent is killed meanwhile.
 *
 * @returns `undefined` where that program cannot be started
 */
export function startExactly(
  path: string,
  request: SpawnRequest,
  { signals, openFiles, env: ownEnv }: Inherited,
): { readonly process: ChildProcess; readonly gate: Gate } | undefined {
  const starter = exactStarter();
  if (starter === undefined) return undefined;
  const { argv, env } = request;
  const bytes = exactStart({ path, argv, env, signals, openFiles }, ownStart(), ownEnv);
  const stdio = stdioOf(request);
  const free = stdio.findIndex((use, at) => at > 2 && use === 'ignore');
  const at = free === -1 ? stdio.length : free;
  stdio[at] = 'pipe';
  const started = tryToSpawn(starter, [String(at)], { stdio, env: {} });
  const stream = started?.stdio[at];
  if (started === undefined || !(stream instanceof Socket)) return undefined;
  return { process: started, gate: gateOf(stream, bytes) };
}

/**
 * Node reports some failures by an exception and others, such as too many open files, by an event that ends the process
 * if it has no listener.
 *
 * @returns `undefined` where no process could be created
 */
export function tryToSpawn(
  program: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess | undefined {
  try {
    const started = spawn(program, args, options);
    started.on('error', () => {});
    return started.pid === undefined ? undefined : started;
  } catch {
    return undefined;
  }
}

/** A property of Node's streams that its types lack. */
interface WithHandle {
  readonly _handle: { readonly fd: number };
}

function gateOf(stream: Socket, bytes: Uint8Array): Gate {
  const { _handle: handle } = stream as Socket & WithHandle;
  const failure = new Promise<number | undefined>((resolve) => {
    let said = '';
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    // The program may end before it has read everything.
    stream.on('error', () => {});
    stream.once('close', () => {
      resolve(said === '' ? undefined : Number(said));
    });
  });
  stream.write(bytes);
  return {
    failure,
    // Node stops reading from a stream that it passes to a child, so this passes its number.
    fd: handle.fd,
    whenWritten(then) {
      if (stream.writableLength === 0) then();
      else stream.once('drain', then);
    },
    open() {
      if (stream.writable) stream.write('\n');
    },
  };
}

/** Passes on this process's descriptors under their own numbers; unlisted ones stay closed. */
export function stdioOf(request: SpawnRequest): StandardIo[] {
  const stdio: StandardIo[] = [request.stdin === undefined ? 0 : 'pipe', 1, 2];
  for (const fd of request.descriptors) {
    while (stdio.length < fd) stdio.push('ignore');
    stdio[fd] = fd;
  }
  return stdio;
}

/**
 * @param path a file that exists
 * @param failure number of an error
 */
export function describeFailure(path: string, failure: number): string {
  // The kernel means the program that a script names in its first line, or the loader of a binary.
  if (failure === os.constants.errno.ENOENT)
    return `${path}: the program that runs it does not exist (see its first line; for a binary, its loader)`;
  try {
    return `${path}: ${getSystemErrorMessage(-failure)} (${getSystemErrorName(-failure)})`;
  } catch {
    return `${path}: error ${failure}`;
  }
}
