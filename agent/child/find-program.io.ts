import { accessSync, constants, statSync } from 'node:fs';
import { delimiter } from 'node:path';

import { EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND } from './exit-status.pure.ts';

export function isOnPath(program: string, searchPath: string): boolean {
  return 'path' in findProgram(program, searchPath);
}

/** Searches as execvp(3) does. */
export function findProgram(
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
      if (mayExecute(path)) return { path };
      denied ??= path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EACCES') denied ??= path;
    }
  }
  return denied === undefined
    ? { problem: `Cannot start "${program}": no such program`, exitCode: EXIT_NOT_FOUND }
    : { problem: `Cannot start "${program}": ${denied} may not be executed`, exitCode: EXIT_CANNOT_EXECUTE };
}

/** Where the kernel does not answer, as under a filter of system calls, the start itself shows whether it may. */
function mayExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EACCES';
  }
}
