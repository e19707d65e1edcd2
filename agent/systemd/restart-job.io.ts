import process from 'node:process';

import { serviceOf } from './process-facts.io.ts';
import { listJobs } from './systemctl.io.ts';
import { isRestartJob } from './systemd-unit.pure.ts';

/** Whether systemd is restarting this process's unit; `false` if it does not answer at once. Never throws. */
export async function isRestarting(env: Readonly<Record<string, string | undefined>>): Promise<boolean> {
  // systemd sets it for every service that it starts.
  const unit = env['INVOCATION_ID'] === undefined ? undefined : serviceOf(process.pid);
  if (unit === undefined) return false;
  const jobs = await listJobs(env);
  return 'text' in jobs && isRestartJob(jobs.text, unit);
}
