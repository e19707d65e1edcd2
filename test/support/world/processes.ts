import { readdirSync, readFileSync } from 'node:fs';

export interface LivingProcess {
  readonly pid: number;
  /** Its arguments with a blank between them; a blank within one is shown as `␣`. */
  readonly command: string;
}

/** Finds processes by an assignment in their environment: it survives changes of parent, session and process group. */
export function processesWith(assignment: string): readonly LivingProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const environment = readProc(name, 'environ');
      if (!environment.split('\0').includes(assignment)) return [];
      return [
        {
          pid: Number(name),
          command: readProc(name, 'cmdline').replaceAll(' ', '␣').replaceAll('\0', ' ').trim(),
        },
      ];
    });
}

function readProc(pid: number | string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** The letter of proc(5): `T` is stopped, `Z` a zombie; `undefined` if there is no such process. */
export function processState(pid: number): string | undefined {
  return /^State:\s+(\S)/m.exec(readProc(pid, 'status'))?.[1];
}

/** Whether a process exists and is no zombie. */
export function lives(pid: number): boolean {
  const state = processState(pid);
  return state !== undefined && state !== 'Z';
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
