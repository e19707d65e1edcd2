import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** How a supervisor's own command ended, and what it said. */
export interface CommandResult {
  readonly code: number;
  readonly text: string;
}

/** Runs a supervisor's own command to its end, whatever that is. */
export async function say(program: string, ...argv: readonly string[]): Promise<CommandResult> {
  try {
    const { stdout, stderr } = await run(program, argv);
    return { code: 0, text: `${stdout}${stderr}`.trim() };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof code !== 'number') throw error;
    return { code, text: `${stdout}${stderr}`.trim() };
  }
}
