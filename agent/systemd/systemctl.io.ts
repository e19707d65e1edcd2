import { execFile } from 'node:child_process';
import process from 'node:process';

import { ORDERED_UNIT_PROPERTIES, UNIT_PROPERTIES } from './systemd-unit.pure.ts';

const PATIENCE_MS = 3_000;

export type Said = { readonly text: string } | { readonly problem: string };

/** systemd's own command, used only for questions. Without systemd, each answer is a problem. */
export interface Systemctl {
  show(unit: string): Promise<Said>;
  cat(unit: string): Promise<Said>;
  /** Properties of neighbouring units; a blank line between units. */
  showOrdered(units: readonly string[]): Promise<Said>;
}

/** How long a stop waits for systemd's answer. */
const JOBS_PATIENCE_MS = 200;

/** @param uid the user whose own systemd is asked; `undefined`: the host's */
export function systemctl(env: UnitEnvironment, uid?: number): Systemctl {
  const manager = managerOf(uid);
  const ask = (args: readonly string[]): Promise<Said> =>
    run(env, { args: [...manager, ...args], patienceMs: PATIENCE_MS });
  return {
    show: (unit) => ask(['show', `--property=${UNIT_PROPERTIES.join(',')}`, '--', unit]),
    showOrdered: (units) => ask(['show', `--property=${ORDERED_UNIT_PROPERTIES.join(',')}`, '--', ...units]),
    cat: (unit) => ask(['cat', '--', unit]),
  };
}

function managerOf(uid: number | undefined): readonly string[] {
  if (uid === undefined) return [];
  return uid === process.getuid?.() ? ['--user'] : ['--user', `--machine=${uid}@.host`];
}

type UnitEnvironment = Readonly<Record<string, string | undefined>>;

/**
 * systemd's current jobs; a problem if it does not answer at once.
 *
 * @param uid as in {@link systemctl}
 */
export function listJobs(env: UnitEnvironment, uid: number | undefined): Promise<Said> {
  const args = [...managerOf(uid), 'list-jobs', '--no-legend', '--plain'];
  return run(env, { args, patienceMs: JOBS_PATIENCE_MS });
}

function run(
  env: UnitEnvironment,
  { args, patienceMs }: { readonly args: readonly string[]; readonly patienceMs: number },
): Promise<Said> {
  return new Promise((resolve) => {
    const options = {
      timeout: patienceMs,
      killSignal: 'SIGKILL',
      env: { ...env, SYSTEMD_COLORS: '0', LC_ALL: 'C' },
    } as const;
    execFile('systemctl', ['--no-pager', ...args], options, (error, stdout, stderr) => {
      if (error === null) resolve({ text: stdout });
      else if (error.code === 'ENOENT') resolve({ problem: 'there is no systemctl on this host' });
      else resolve({ problem: stderr.trim().split('\n')[0] ?? error.message });
    });
  });
}
