import { readFileSync, statSync } from 'node:fs';
import process from 'node:process';

import { unitOfCgroup, userManagerOf } from './systemd-unit.pure.ts';

/** Facts about a process, from procfs; `undefined` if it has ended or this user may not see them. */
export interface ProcessFacts {
  readonly argv: readonly string[] | undefined;
  /** Visible only to the process's own user, and to root. */
  readonly env: Readonly<Record<string, string>> | undefined;
  readonly cgroup: string | undefined;
}

export function processFacts(pid: number): ProcessFacts {
  const environment = read(pid, 'environ');
  return {
    argv: read(pid, 'cmdline')?.split('\0').slice(0, -1),
    env:
      environment === undefined
        ? undefined
        : Object.fromEntries(
            environment.split('\0').flatMap((pair) => {
              const equals = pair.indexOf('=');
              return equals === -1 ? [] : [[pair.slice(0, equals), pair.slice(equals + 1)]];
            }),
          ),
    cgroup: read(pid, 'cgroup'),
  };
}

/** The systemd service that a process belongs to, if any. */
export function serviceOf(pid: number): string | undefined {
  const cgroup = read(pid, 'cgroup');
  return cgroup === undefined ? undefined : unitOfCgroup(cgroup);
}

/** The user whose own systemd has the process's service, as `systemctl --user` shows it. */
export function serviceUserOf(pid: number): number | undefined {
  const cgroup = read(pid, 'cgroup');
  return cgroup === undefined ? undefined : userManagerOf(cgroup);
}

/** Whether a process belongs to the systemd service that this process belongs to. */
export function sharesOurService(pid: number): boolean {
  const ours = serviceOf(process.pid);
  return ours !== undefined && serviceOf(pid) === ours;
}

/** Whether this user sees what that process's own user sees. */
export function mayActAs(pid: number): boolean {
  const uid = process.geteuid?.();
  try {
    return uid === 0 || statSync(`/proc/${pid}`).uid === uid;
  } catch {
    return false;
  }
}

/**
 * From here on, resolves relative paths as that process does.
 *
 * @returns whether this user may
 */
export function enterFolderOf(pid: number): boolean {
  try {
    process.chdir(`/proc/${pid}/cwd`);
    return true;
  } catch {
    return false;
  }
}

function read(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}
