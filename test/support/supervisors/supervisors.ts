import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

import { describe } from 'vitest';

const run = promisify(execFile);

/** How a supervisor's own command ended, and what it said. */
export interface Said {
  readonly code: number;
  readonly text: string;
}

/** Runs a supervisor's own command to its end, whatever that is. */
export async function say(program: string, ...argv: readonly string[]): Promise<Said> {
  try {
    const { stdout, stderr } = await run(program, argv);
    return { code: 0, text: `${stdout}${stderr}`.trim() };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof code !== 'number') throw error;
    return { code, text: `${stdout}${stderr}`.trim() };
  }
}

/**
 * `describe` where the programs are installed, and skipped by name where they are not. In CI they have to be.
 *
 * @param debianPackage where the first of them comes from
 * @throws Error in CI if one is missing
 */
export function describeWith(debianPackage: string, ...programs: readonly string[]): typeof describe {
  const missing = programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return describe;
  const problem = `${missing.join(', ')} not found: apt-get install ${debianPackage}`;
  if (process.env['CI'] === 'true') throw new Error(problem);
  console.warn(`Skipped: ${problem}`);
  return describe.skip as typeof describe;
}
