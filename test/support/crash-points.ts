import { appendFileSync } from 'node:fs';
import process from 'node:process';

import type { CrashPoint } from '../../control-plane/crash-points.ts';

/** `STEP` or `STEP:N`, the N-th time; `list:FILE` writes down each step that is passed instead. */
const wanted = process.env['CRASH_AT'] ?? '';
const passed = new Map<string, number>();

/** Stands in for `control-plane/crash-points.ts` in the test build: ends the process as a power loss would. */
export function crashPoint(at: CrashPoint): void {
  const times = (passed.get(at) ?? 0) + 1;
  passed.set(at, times);
  if (wanted.startsWith('list:')) appendFileSync(wanted.slice('list:'.length), `${at}\n`);
  const [step, number = '1'] = wanted.split(':');
  if (step === at && Number(number) === times) process.kill(process.pid, 'SIGKILL');
}
