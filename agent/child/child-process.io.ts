import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter } from 'node:path';
import { Writable } from 'node:stream';

import { EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND, type ChildExit } from './exit-status.pure.ts';
import { exactStart } from './exact-start.pure.ts';
import { exactStarter, ownStart } from './inherited.io.ts';
import type { Inherited } from './inherited.pure.ts';
import { watchOver } from './death-watch.io.ts';
import { processRef } from '../state/host.io.ts';
import type { Spawned, SpawnRequest } from '../ports.ts';
import { WrappedChild } from './wrapped-child.io.ts';

type StandardIo = 'pipe' | 'ignore' | number;

/** Runs what tells kuma-dp that its agent was killed. */
const SHELL = 'sh';

export interface Spawner {
  spawn(request: SpawnRequest): Spawned;
  /** Whether kuma-dp ends with the agent even if the agent is killed. */
  readonly guarded: boolean;
}

/** @param inherited what this process was started with, and hands on */
export function childSpawner(searchPath: string, inherited: Inherited): Spawner {
  const shell = findProgram(SHELL, searchPath);
  return {
    guarded: 'path' in shell,
    spawn(request) {
      const [program = ''] = request.argv;
      const found = findProgram(program, request.env['PATH'] ?? '');
      if ('problem' in found) return found;
      return start(found.path, request, { shell: 'path' in shell ? shell.path : undefined, inherited });
    },
  };
}

interface StartWith {
  /** Path of a POSIX shell. */
  readonly shell: string | undefined;
  readonly inherited: Inherited;
}

function start(path: string, request: SpawnRequest, { shell, inherited }: StartWith): Spawned {
  const started = startExactly(path, request, inherited) ?? startAsText(path, request);
  const exited = new Promise<ChildExit>((resolve) => {
    started.once('exit', (code, signal) => {
      resolve(signal === null ? { code: code ?? 0, signal: null } : { code: null, signal });
    });
    // The kernel refused after all: the program was replaced, or there is no memory for another process.
    started.once('error', (error: NodeJS.ErrnoException) => {
      resolve({ code: error.code === 'ENOENT' ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, signal: null });
    });
  });
  if (started.pid === undefined) {
    return {
      problem: `Cannot start ${request.argv[0]}: the process could not be created`,
      exitCode: EXIT_CANNOT_EXECUTE,
    };
  }
  const self = processRef(started.pid);
  if (shell !== undefined && self !== undefined) {
    const watch = watchOver(self, shell, request.env);
    started.once('exit', watch.end);
  }
  const { stdin } = started;
  if (stdin !== null && request.stdin !== undefined) {
    // kuma-dp may end before it has read everything.
    stdin.on('error', () => {});
    void request.stdin.then((bytes) => stdin.end(bytes));
  }
  const child = new WrappedChild(started.pid);
  return { child, exited: exited.then((exit) => child.outlived().then(() => exit)) };
}

function startAsText(path: string, request: SpawnRequest): ChildProcess {
  const [argv0 = '', ...args] = request.argv;
  return spawn(path, args, { argv0, stdio: stdioOf(request), env: request.env });
}

/**
 * By a program that becomes the wanted one: same process, but for bytes and signals that Node cannot hand on.
 *
 * @returns `undefined` where Node can, and where that program cannot be started
 */
function startExactly(path: string, request: SpawnRequest, inherited: Inherited): ChildProcess | undefined {
  const own = ownStart();
  const { argv, env } = request;
  const bytes =
    own === undefined
      ? undefined
      : exactStart({ path, argv, env, signals: inherited.signals }, own, inherited.env);
  const starter = bytes === undefined ? undefined : exactStarter();
  if (bytes === undefined || starter === undefined) return undefined;
  const stdio = stdioOf(request);
  const fd = stdio.findIndex((use, at) => at > 2 && use === 'ignore');
  const at = fd === -1 ? stdio.length : fd;
  stdio[at] = 'pipe';
  const started = spawn(starter, [String(at)], { stdio, env: {} });
  const pipe = started.stdio[at];
  if (started.pid === undefined || !(pipe instanceof Writable)) return undefined;
  // It ends without a message if it does not get everything; the exit handler reports that.
  pipe.on('error', () => {});
  pipe.end(bytes);
  return started;
}

/** Ours as they are, each under its own number; what is not listed stays closed. */
function stdioOf(request: SpawnRequest): StandardIo[] {
  const stdio: StandardIo[] = [request.stdin === undefined ? 0 : 'pipe', 1, 2];
  for (const fd of request.descriptors) {
    while (stdio.length < fd) stdio.push('ignore');
    stdio[fd] = fd;
  }
  return stdio;
}

export function isOnPath(program: string, searchPath: string): boolean {
  return 'path' in findProgram(program, searchPath);
}

/** As execvp(3) looks for it. */
function findProgram(
  program: string,
  searchPath: string,
): { readonly path: string } | { readonly problem: string; readonly exitCode: number } {
  const candidates = program.includes('/')
    ? [program]
    : searchPath.split(delimiter).map((folder) => `${folder === '' ? '.' : folder}/${program}`);
  let denied: string | undefined;
  for (const path of candidates) {
    try {
      if (!statSync(path).isFile()) {
        denied ??= program.includes('/') ? path : undefined;
        continue;
      }
      accessSync(path, constants.X_OK);
      return { path };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EACCES') denied ??= path;
    }
  }
  return denied === undefined
    ? { problem: `Cannot start "${program}": no such program`, exitCode: EXIT_NOT_FOUND }
    : { problem: `Cannot start "${program}": ${denied} may not be executed`, exitCode: EXIT_CANNOT_EXECUTE };
}
