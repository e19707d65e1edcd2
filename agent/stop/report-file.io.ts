import { appendFile, rename, stat } from 'node:fs/promises';

import type { StopReport } from './stop-report.pure.ts';

const ROTATE_AT_BYTES = 1024 * 1024;

/** Appends one JSON line; the file before this one is kept as `PATH.1`. */
export async function appendReport(path: string, report: StopReport): Promise<void> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size >= ROTATE_AT_BYTES) await rename(path, `${path}.1`);
  await appendFile(path, `${JSON.stringify(report)}\n`, { mode: 0o640 });
}
