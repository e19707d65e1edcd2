import { utimesSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';

import { writtenJobs } from '../../../../agent/systemd/restart-job.io.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';

const JOBS = '12 kuma-dp.service restart running\n';
const OWN = process.getuid?.() ?? -1;

test('the jobs that ExecStop= wrote at this stop count; those of an earlier run, and another user’s, do not', () => {
  using dir = new TemporaryDir();
  const path = dir.join('kuma-dp.service.jobs');
  expect(writtenJobs(path, OWN)).toBeUndefined();
  writeFileSync(path, JOBS);
  expect(writtenJobs(path, OWN)).toBe(JOBS);
  expect(writtenJobs(path, OWN + 1)).toBeUndefined();
  const beforeThisRun = Date.now() / 1_000 - process.uptime() - 1;
  utimesSync(path, beforeThisRun, beforeThisRun);
  expect(writtenJobs(path, OWN)).toBeUndefined();
});
