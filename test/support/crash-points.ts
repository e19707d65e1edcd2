import { appendFileSync } from 'node:fs';
import process from 'node:process';

import type { CrashPoint } from '../../control-plane/departures/crash-points.ts';

/**
 * `STEP`, or `STEP:N` for the N-th time, ends the process there. `stop:STEP` and `stop:STEP:N` pause it until
 * SIGCONT. `list:FILE` only records each step in the file.
 */
const wanted = process.env['CRASH_AT'] ?? '';
const stops = wanted.startsWith('stop:');
const [step, number = '1'] = wanted.replace(/^stop:/, '').split(':');
const passed = new Map<string, number>();

/**
 * Replaces `control-plane/departures/crash-points.ts` in the test build: ends, or pauses, the process as a host
 * would.
 */
export function crashPoint(at: CrashPoint): void {
  const times = (passed.get(at) ?? 0) + 1;
  passed.set(at, times);
  if (wanted.startsWith('list:')) appendFileSync(wanted.slice('list:'.length), `${at}\n`);
  if (step === at && Number(number) === times) process.kill(process.pid, stops ? 'SIGSTOP' : 'SIGKILL');
}
