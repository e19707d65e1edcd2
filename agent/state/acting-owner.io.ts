import { lstatSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import process from 'node:process';

import { OperationalError } from '../../kernel/errors.ts';

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The less privileged user who can change the content of a path that root was given: the owner of the path, or of a
 * folder above it.
 *
 * @returns `undefined` if there is none, or this process is not root
 */
export function foreignOwner(path: string): FileOwner | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const written = resolve(path);
  // Checks the path as written and its target: the owner of a folder controls its content.
  for (const each of [...lineage(written), ...lineage(realPathOf(written))]) {
    const found = lstatSync(each, { throwIfNoEntry: false });
    if (found !== undefined && found.uid !== 0) return { uid: found.uid, gid: found.gid };
  }
  return undefined;
}

/**
 * Makes this process that user, permanently: it then reads and writes no more than that user could.
 *
 * @throws `STATE_UNUSABLE` if it cannot
 */
export function actAs(owner: FileOwner): void {
  try {
    become(owner);
  } catch (cause) {
    throw new OperationalError('STATE_UNUSABLE', `Cannot act as uid ${owner.uid}: run this as that user`, {
      cause,
    });
  }
}

function lineage(path: string): readonly string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...lineage(parent), path];
}

function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Not in Node's own types: https://nodejs.org/docs/latest-v24.x/api/process.html#processinitgroupsuser-extragroup */
type WithGroups = typeof process & { initgroups?: (user: number, extraGroup: number) => void };

function become({ uid, gid }: FileOwner): void {
  try {
    (process as WithGroups).initgroups?.(uid, gid);
  } catch {
    // A user without an entry in passwd has no other groups.
    process.setgroups?.([gid]);
  }
  process.setgid?.(gid);
  process.setuid?.(uid);
}
