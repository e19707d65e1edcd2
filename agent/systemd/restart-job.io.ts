import { statSync } from 'node:fs';
import process from 'node:process';

import { readRegularFileSync } from '../../program/regular-file.ts';
import { serviceOf, serviceUserOf } from './process-facts.io.ts';
import { listJobs } from './systemctl.io.ts';
import { isRestartJob } from './systemd-unit.pure.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether systemd is restarting this process's unit; `false` if it does not answer at once. Never throws. */
export async function isRestarting(env: Environment): Promise<boolean> {
  // systemd sets it for every service that it starts.
  const unit = env['INVOCATION_ID'] === undefined ? undefined : serviceOf(process.pid);
  if (unit === undefined) return false;
  const user = serviceUserOf(process.pid);
  const runtimeDir = user === undefined ? '/run' : env['XDG_RUNTIME_DIR'];
  const written = runtimeDir === undefined ? undefined : writtenJobs(`${runtimeDir}/${unit}.jobs`, user ?? 0);
  if (written !== undefined) return isRestartJob(written, unit);
  const jobs = await listJobs(env, user);
  return 'text' in jobs && isRestartJob(jobs.text, unit);
}

/**
 * The jobs that the unit's `ExecStop=` wrote at this stop, as in systemd/kuma-dp-agent.conf.
 *
 * @param owner the uid of the only user who may write there
 * @returns `undefined` if there are none, or only those of an earlier run
 */
export function writtenJobs(path: string, owner: number): string | undefined {
  const startedMs = Date.now() - process.uptime() * 1_000;
  try {
    const { uid, mtimeMs } = statSync(path);
    return uid === owner && mtimeMs >= startedMs ? readRegularFileSync(path).toString('utf8') : undefined;
  } catch {
    return undefined;
  }
}
