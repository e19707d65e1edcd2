import { readFileSync } from 'node:fs';

/** Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** The memory of this process by the kernel's account, in kilobytes. */
export function residentKb(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Rss:\s+(\d+) kB/m.exec(rollup)?.[1]);
}

/** Processor time that this process has used, in seconds. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
