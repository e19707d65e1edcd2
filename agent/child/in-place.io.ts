import process from 'node:process';

import type { SpawnRequest } from '../ports.ts';
import { findProgram } from './find-program.io.ts';

/**
 * The last resort where the kernel creates no process: this process becomes kuma-dp, which then runs as without the
 * agent. Returns if there is no such program.
 */
export function becomeKumaDp({ argv, env }: Pick<SpawnRequest, 'argv' | 'env'>): void {
  const [program = ''] = argv;
  const found = findProgram(program, env['PATH'] ?? '');
  if ('problem' in found) return;
  const set = Object.entries(env).filter(([, value]) => value !== undefined);
  process.execve?.(found.path, argv, Object.fromEntries(set));
}
