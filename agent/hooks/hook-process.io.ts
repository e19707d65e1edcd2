import { spawn } from 'node:child_process';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { systemClock } from '../../kernel/clock.ts';
import type { RunHook } from './hooks.ts';

/** Lines of one hook that reach the log: an endless output must not fill the journal. */
const MOST_LINES = 100;
const LONGEST_LINE = 1_000;
const LAST_LINES_MS = 50;

/** Runs a command line by the shell, in a process group of its own that is killed when its time is up. */
export function hookRunner(env: Readonly<Record<string, string | undefined>>): RunHook {
  return (command, { environment, said, signal }) =>
    new Promise((resolve) => {
      const child = spawn('sh', ['-c', command], {
        env: { ...env, ...environment },
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let lines = 0;
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
          lines += 1;
          if (lines <= MOST_LINES) said(line.slice(0, LONGEST_LINE));
        });
      }
      const kill = (): void => {
        if (child.pid !== undefined) killGroup(child.pid);
      };
      signal.addEventListener('abort', kill, { once: true });
      if (signal.aborted) kill();
      const end = (outcome: string | undefined): void => {
        signal.removeEventListener('abort', kill);
        resolve(outcome);
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, killedBy) => {
        // Its background processes may keep its output open; its own output has been read by then.
        systemClock.after(LAST_LINES_MS, () => {
          child.stdout.destroy();
          child.stderr.destroy();
        });
        if (code === 0) end(undefined);
        else end(killedBy === null ? `exit code ${code}` : `killed by ${killedBy}`);
      });
    });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
