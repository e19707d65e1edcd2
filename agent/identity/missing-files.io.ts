import { statSync } from 'node:fs';

import { filesOf, type KumaDpCommand } from './kuma-dp-command.pure.ts';

/** Files that kuma-dp would not find. Empty for a command that reads them elsewhere, such as in a container. */
export function missingFiles(command: KumaDpCommand): readonly string[] {
  if (command.obstacles.some(({ level }) => level === 'breaks')) return [];
  return filesOf(command)
    .filter(({ path }) => isMissing(path))
    .map(({ option, path }) => `there is no "${path}" (${option})`);
}

function isMissing(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT';
  }
}
