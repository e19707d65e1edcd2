import { roughDuration } from './one-line.ts';

export interface ToldStep {
  readonly step: string;
  readonly durationMs: number;
  readonly outcome: string;
}

/** The normal outcome of each step, which is not mentioned. */
const ORDINARY: Readonly<Record<string, string>> = {
  deregister: 'gone',
  settle: 'time is up',
  drain: 'quiet',
  exit: 'exit code 0',
  confirm: 'gone',
};

/** `deregister 8ms, settle 2.25s, drain 510ms, exit 95ms (signal SIGKILL), confirm 4ms`. */
export function describeSteps(steps: readonly ToldStep[]): string {
  return steps
    .map(({ step, durationMs, outcome }) => {
      const ending = ORDINARY[step] === outcome || outcome === '' ? '' : ` (${outcome})`;
      return `${step} ${roughDuration(durationMs)}${ending}`;
    })
    .join(', ');
}
