import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import process from 'node:process';

import { pause, type Clock } from '../../kernel/clock.ts';
import type { HostEvidence, ProcessRef } from './host-state.pure.ts';
import { sharesOurService } from '../systemd/process-facts.io.ts';

/** This boot of the host, in terms that another process can check later. Linux only, through procfs. */
export interface Host extends HostEvidence {
  /** Milliseconds since boot, suspend included, in steps of 10. */
  uptimeMs(): number;
  /** `undefined` if there is no such process. */
  processRef(pid: number): ProcessRef | undefined;
}

export interface Patience {
  readonly clock: Clock;
  readonly pollMs: number;
  /** On the monotonic clock. */
  readonly byMs: number;
  readonly cancel?: AbortSignal;
}

/** Waits as long as `holds` returns true: a process that is not our child does not report its end. */
export async function outwait(holds: () => boolean, patience: Patience): Promise<void> {
  const { clock, pollMs, byMs } = patience;
  while (holds() && clock.monotonicMs() < byMs && patience.cancel?.aborted !== true) {
    await pause(clock, pollMs, patience.cancel);
  }
}

export function linuxHost(): Host {
  return {
    bootId: readBootId(),
    uptimeMs: readUptimeMs,
    processRef,
    isAlive: (known) => processRef(known.pid)?.startTicks === known.startTicks,
    // systemd sets this only for ExecStop and ExecStopPost: systemd.exec(5).
    endsWithUs: ({ pid }) => process.env['SERVICE_RESULT'] !== undefined && sharesOurService(pid),
  };
}

/**
 * A procfs that is limited to processes (systemd's `ProcSubset=pid`) has no boot id, so the time of boot replaces it.
 * After a step of the clock this looks like another boot, which is the safe mistake.
 */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    const bootedAtMs = Date.now() - uptime() * 1_000;
    return `booted-${Math.round(bootedAtMs / BOOT_TIME_STEP_MS)}`;
  }
}

/** NTP steps the clock by less than this. */
const BOOT_TIME_STEP_MS = 600_000;

function readUptimeMs(): number {
  try {
    return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000;
  } catch {
    return uptime() * 1_000;
  }
}

/** @returns `undefined` if there is no such process, or only a zombie */
export function processRef(pid: number): ProcessRef | undefined {
  const fields = readStat(pid);
  // proc(5): the list starts at field 3, the state; field 22 is the start time in clock ticks.
  return fields === undefined || fields[0] === 'Z' ? undefined : { pid, startTicks: Number(fields[19]) };
}

function readStat(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}
