import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import process from 'node:process';

import { isKumaDpName } from '../../kuma/kuma-dp-name.ts';

/** A wrapped wrapper has a handful of processes below it; the search gives up at more. */
const MOST_PROCESSES = 1_024;

/** Programs that run kuma-dp as a script: its name is then the second word. */
const INTERPRETERS = /^(?:node|nodejs|python3?|perl|ruby|sh|bash|dash)$/;

/** Some kernels are built without it. */
let kernelListsChildren: boolean | undefined;

/**
 * The pids of the children of a process. A process that has ended has no children.
 *
 * @throws if this user cannot look
 */
export function childrenOf(pid: number): readonly number[] {
  if (!existsSync('/proc/self/stat')) throw new Error('/proc is not mounted');
  requireVisible(pid);
  kernelListsChildren ??= existsSync('/proc/thread-self/children');
  return kernelListsChildren ? listedChildren(pid) : childrenByParent(pid);
}

/**
 * @throws for a process that runs and that /proc does not show: "no such process" would be wrong
 * @see proc(5), hidepid; systemd.exec(5), ProtectProc=
 */
function requireVisible(pid: number): void {
  if (existsSync(`/proc/${pid}`) || !isRunning(pid)) return;
  // It may have ended between the two.
  if (existsSync(`/proc/${pid}`) || isRunning(pid))
    throw new Error(`/proc hides process ${pid} from this user (hidepid, or ProtectProc= of the unit)`);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Each thread lists the children that it forked itself. */
function listedChildren(pid: number): readonly number[] {
  return threadsOf(pid).flatMap((thread) =>
    (read(`/proc/${pid}/task/${thread}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  );
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return [];
    throw error;
  }
}

/** For a kernel that does not list children: asks every process for its parent. */
export function childrenByParent(parent: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

/** proc(5): field 4 of `stat`; the name in field 2 may contain anything, brackets too. */
export function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** The words a process was started with; none if they cannot be read. */
export function commandLineOf(pid: number): readonly string[] {
  return (read(`/proc/${pid}/cmdline`) ?? '').split('\0').slice(0, -1);
}

/** A process and everything below it, the nearest first. @throws if this user cannot look */
function* processesBelow(root: number): Generator<number> {
  const queue = [root];
  for (let seen = 0; seen < MOST_PROCESSES; seen += 1) {
    const pid = queue.shift();
    if (pid === undefined) return;
    yield pid;
    queue.push(...childrenOf(pid));
  }
  throw new Error(`more than ${MOST_PROCESSES} processes run below it`);
}

/**
 * The process `pid` and everything below it. After its end its orphans are this process's own children.
 *
 * @throws if this user cannot look
 */
export function startedProcesses(pid: number): Generator<number> {
  requireVisible(pid);
  return processesBelow(existsSync(`/proc/${pid}`) ? pid : process.pid);
}

/**
 * kuma-dp itself: a shell or a program that switches the user, and does not pass signals on, may have started it. A kuma-dp
 * of another name is known by the Envoy that it has started.
 *
 * @param root what the agent started
 * @returns `undefined` if there is none, or if this user cannot look
 */
export function kumaDpAmong(root: number): number | undefined {
  try {
    let envoy: number | undefined;
    for (const pid of processesBelow(root)) {
      const argv = commandLineOf(pid);
      if (isKumaDp(argv)) return pid;
      if (pid !== root && argv.includes('--config-path')) envoy ??= pid;
    }
    return envoy === undefined ? undefined : starterOf(envoy);
  } catch {
    return undefined;
  }
}

/**
 * Only kuma-dp's own command has the word "run": a script in between has not. The agent's command has it, too, and the
 * Envoy of a kuma-dp that has just ended is the agent's own child.
 */
function starterOf(envoy: number): number | undefined {
  const parent = parentOf(envoy);
  if (parent === undefined || parent === process.pid) return undefined;
  return commandLineOf(parent).includes('run') ? parent : undefined;
}

/** Whether kuma-dp is among what was started as `pid`. @throws if this user cannot look */
export function startedKumaDp(pid: number): boolean {
  return startedProcesses(pid).some((each) => isKumaDp(commandLineOf(each)));
}

/** The user of the process; `undefined` if there is no such process. */
export function uidOf(pid: number | undefined): number | undefined {
  return pid === undefined ? undefined : statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
}

export function isKumaDp([program = '', script = '']: readonly string[]): boolean {
  return (
    isKumaDpName(nameOf(program)) || (INTERPRETERS.test(nameOf(program)) && isKumaDpName(nameOf(script)))
  );
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
