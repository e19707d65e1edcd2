import type { ChildProcess } from 'node:child_process';
import os from 'node:os';

import { kernelCalls } from '../../program/kernel-calls.ts';
import type { Spawned, SpawnRequest } from '../ports.ts';
import { processRef } from '../state/host.io.ts';
import type { ProcessRef } from '../state/host-state.pure.ts';
import { watchOver } from './death-watch.io.ts';
import {
  EXIT_CANNOT_EXECUTE,
  EXIT_NO_PERMISSION,
  EXIT_NOT_FOUND,
  realTimeSignal,
  type ChildExit,
} from './exit-status.pure.ts';
import { describeFailure, startExactly, stdioOf, tryToSpawn, type Gate } from './exact-process.io.ts';
import { findProgram } from './find-program.io.ts';
import type { Inherited } from './inherited.pure.ts';
import { writeError } from './standard-streams.io.ts';
import { WrappedChild } from './wrapped-child.io.ts';

/** The watch that tells kuma-dp when its agent was killed. */
const SHELL = 'sh';

export interface Spawner {
  spawn(request: SpawnRequest): Spawned;
  /** Whether kuma-dp ends with the agent even if the agent is killed. */
  readonly guarded: boolean;
}

/** @param inherited what this process was started with and passes on to kuma-dp */
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

interface Started {
  readonly process: ChildProcess;
  /** `undefined` where Node started the program by itself. */
  readonly gate: Gate | undefined;
}

function start(path: string, request: SpawnRequest, { shell, inherited }: StartWith): Spawned {
  const started = startExactly(path, request, inherited) ?? startAsText(path, request);
  if ('problem' in started) return started;
  const { process: own } = started;
  const { pid } = own;
  if (pid === undefined) return noProcess(request);
  kernelCalls()?.follow(pid);
  const ended = endOf(own);
  const refused = refusalOf(started, path, request);
  watch(started, { pid, shell, env: request.env });
  const { stdin } = own;
  if (stdin !== null && request.stdin !== undefined) {
    // kuma-dp may end before it has read everything.
    stdin.on('error', () => {});
    void request.stdin.then((bytes) => stdin.end(bytes));
  }
  const child = new WrappedChild(pid);
  const exited = ended.then(async (exit) => {
    const [refusal] = await Promise.all([refused, child.outlived(exit)]);
    return refusal ?? exit;
  });
  const outOfReach = child.unkillable.then((): ChildExit => ({ code: EXIT_NO_PERMISSION, signal: null }));
  const { denied, detached } = child;
  if (shell !== undefined)
    void detached.then((left) => {
      watchDetached(left, { shell, env: request.env, exited });
    });
  return {
    child,
    exited: Promise.race([exited, outOfReach]),
    denied,
    checkReach: () => {
      child.checkReach();
    },
    detached: detached.then((left) => left.pid),
  };
}

function endOf(started: ChildProcess): Promise<ChildExit> {
  return new Promise((resolve) => {
    started.once('exit', (code, signal) => {
      const unnamed = kernelCalls()?.killedBy() ?? 0;
      if (signal !== null) resolve({ code: null, signal });
      else if (unnamed !== 0) resolve({ code: null, signal: realTimeSignal(unnamed) });
      else resolve({ code: code ?? 0, signal: null });
    });
  });
}

/** Says in one line why the kernel refused to execute the program. @returns `undefined` if it did not */
async function refusalOf(
  { gate }: Started,
  path: string,
  request: SpawnRequest,
): Promise<ChildExit | undefined> {
  const failure = await gate?.failure;
  if (failure === undefined) return undefined;
  writeError(cannotStart(request, describeFailure(path, failure)).problem);
  return { code: failure === os.constants.errno.ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, signal: null };
}

/** kuma-dp waits behind the gate until its watch is there, so that no killed agent leaves it behind. */
function watch(
  { process: own, gate }: Started,
  { pid, shell, env }: { pid: number; shell: string | undefined; env: SpawnRequest['env'] },
): void {
  const self = processRef(pid);
  const begin = (): void => {
    if (shell === undefined || self === undefined) gate?.open();
    else own.once('exit', watchOver(self, { shell, env, gate }).end);
  };
  if (gate === undefined) begin();
  else gate.whenWritten(begin);
}

function watchDetached(
  left: ProcessRef,
  { exited, ...how }: { shell: string; env: SpawnRequest['env']; exited: Promise<ChildExit> },
): void {
  const { end } = watchOver(left, { ...how, gate: undefined });
  void exited.then(end);
}

function startAsText(path: string, request: SpawnRequest): Started | Extract<Spawned, { problem: string }> {
  const [argv0 = '', ...args] = request.argv;
  const started = tryToSpawn(path, args, { argv0, stdio: stdioOf(request), env: request.env });
  return started === undefined ? noProcess(request) : { process: started, gate: undefined };
}

function noProcess(request: SpawnRequest): Extract<Spawned, { problem: string }> {
  const why =
    'no process can be created (limit of open files, processes or memory). It runs in place of the agent, so a stop will not deregister it';
  return { ...cannotStart(request, why), noProcess: true };
}

function cannotStart({ argv }: SpawnRequest, why: string): { problem: string; exitCode: number } {
  return { problem: `Cannot start "${argv[0]}": ${why}`, exitCode: EXIT_CANNOT_EXECUTE };
}
