import type { ProcessRef } from '../state/host-state.pure.ts';
import { tryToSpawn, type Gate } from './exact-process.io.ts';

/**
 * Reads from a pipe that only the agent holds. The kernel closes it after the last thread of the agent has ended, for
 * whatever reason. Then the script sends one SIGTERM to the named process, if it is still the same: field 22 of
 * /proc/PID/stat is its start time, and the list that is set here begins at field 3. The first line opens the gate in
 * front of that process.
 */
const SCRIPT = [
  "trap '' HUP INT QUIT PIPE USR1 USR2 ALRM TERM PWR",
  'echo',
  'exec >/dev/null',
  'read -r farewell',
  'read -r stat </proc/$1/stat || exit',
  'set -- "$1" "$2" ${stat##*) }',
  '[ "${22}" = "$2" ] && kill -TERM "$1"',
].join('; ');

/** The watch's name in a list of processes. */
const WATCH_NAME = 'kuma-dp-agent-watch';

export interface DeathWatch {
  /** The process has ended: there is no process left to signal. */
  readonly end: () => void;
}

/**
 * Makes kuma-dp stop if this process is killed. A separate process does it. The kernel's own means (prctl's PDEATHSIG)
 * signals once for each thread that ends; kuma-dp takes the second SIGTERM as the end of its drain and the third as its
 * own end.
 *
 * @param shell path of a POSIX shell
 * @param gate opened once the watch is there
 * @see https://github.com/torvalds/linux/blob/v6.12/kernel/exit.c forget_original_parent: for each thread in turn
 */
export function watchOver(
  { pid, startTicks }: ProcessRef,
  {
    shell,
    env,
    gate,
  }: {
    readonly shell: string;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly gate: Gate | undefined;
  },
): DeathWatch {
  const watch = tryToSpawn(shell, ['-c', SCRIPT, WATCH_NAME, String(pid), String(startTicks)], {
    stdio: ['pipe', gate?.fd ?? 'ignore', 'ignore'],
    env,
    // In a session of its own, so that signals to the agent's process group do not reach it.
    detached: true,
  });
  // Without the watch, kuma-dp runs anyway.
  if (watch === undefined) gate?.open();
  watch?.once('exit', () => gate?.open());
  watch?.stdin?.on('error', () => {});
  watch?.unref();
  return {
    end: () => {
      watch?.kill('SIGKILL');
    },
  };
}
