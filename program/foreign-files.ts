import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import process from 'node:process';

/** Who may read a file that this user may not: `kuma-dp or as root`; `undefined` if the file is this user's own. */
export function readersOf(path: string): string | undefined {
  const uid = ownerOf(path);
  if (uid === process.geteuid?.()) return undefined;
  return uid === undefined || uid === 0 ? 'root' : `${nameOfUser(uid) ?? `uid ${uid}`} or as root`;
}

/** Why this user cannot read a file or folder, and what helps. */
export function whyUnreadable(path: string): string {
  try {
    accessSync(path, constants.R_OK);
    return 'it is not what it should be';
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 'there is none';
    const readers = code === 'EACCES' ? readersOf(path) : undefined;
    return readers === undefined ? code : `this user may not read it. Run this as ${readers}`;
  }
}

function ownerOf(path: string): number | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })?.uid;
  } catch {
    return undefined;
  }
}

function nameOfUser(uid: number): string | undefined {
  try {
    const entries = readFileSync('/etc/passwd', 'utf8').split('\n');
    return entries.map((entry) => entry.split(':')).find(([, , id]) => id === String(uid))?.[0];
  } catch {
    return undefined;
  }
}
