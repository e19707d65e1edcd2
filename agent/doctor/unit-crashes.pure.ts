import type { Finding } from '../../kernel/findings.ts';
import type { UnitSettings } from '../systemd/systemd-unit.pure.ts';
import { judgeUserSwitch } from './unit-user-switch.pure.ts';

/** So many restarts since the last start by hand are worth a finding. */
const MANY_RESTARTS = 3;

/** Settings that keep the agent from running, or that ended its last runs. */
export function judgeCrashes(unit: UnitSettings): readonly Finding[] {
  if (unit.loadState !== 'loaded') return [];
  return [...judgeMemory(unit), ...judgeUserSwitch(unit), ...judgeRestarts(unit)];
}

function judgeMemory({ memoryDenyWriteExecute, limitAs }: UnitSettings): readonly Finding[] {
  const findings: Finding[] = [];
  if (memoryDenyWriteExecute) {
    findings.push({
      level: 'failure',
      about: 'MemoryDenyWriteExecute',
      says: 'yes: the agent compiles code while it runs, so it is killed at its start (SIGTRAP or SIGSEGV)',
      remedy: 'MemoryDenyWriteExecute=no',
    });
  }
  if (limitAs !== undefined && Number.isFinite(limitAs)) {
    findings.push({
      level: 'warning',
      about: 'LimitAS',
      says: `${limitAs}: the agent and Envoy reserve far more address space than they use, and crash without it`,
      remedy: 'LimitAS=infinity; MemoryMax= limits what is used',
    });
  }
  return findings;
}

function judgeRestarts(unit: UnitSettings): readonly Finding[] {
  const { id, restarts, activeState, result } = unit;
  if (restarts < MANY_RESTARTS) return [];
  const loops = activeState !== 'active' || result === 'start-limit-hit';
  return [
    {
      level: loops ? 'failure' : 'warning',
      about: loops ? 'crash loop' : 'restarts',
      says: `systemd restarted it ${restarts} times since it was started; last end: ${describeEnd(unit)}`,
      remedy: remedyOf(unit) ?? `journalctl -u ${id}`,
    },
  ];
}

/** systemd's codes in place of an exit status: systemd.exec(5), "Process exit codes". */
const STATUS_WORDS: Readonly<Record<number, string>> = {
  78: 'a setting is wrong, and the log names it',
  126: 'the program cannot be executed',
  127: 'the program was not found',
  200: 'WorkingDirectory= cannot be entered',
  203: 'the program of ExecStart= cannot be executed',
  216: 'Group= does not exist',
  217: 'User= does not exist',
  226: 'its mount namespace cannot be set up',
};

/** Signals that end a program without its own request, by number. */
const SIGNALS: Readonly<Record<number, string>> = {
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  15: 'SIGTERM',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  31: 'SIGSYS',
};

function describeEnd({ endedBy, endStatus, result }: UnitSettings): string {
  const because = ['', 'success', 'exit-code', 'signal', 'core-dump'].includes(result) ? '' : ` (${result})`;
  if (endedBy === 'signal') return `${SIGNALS[endStatus] ?? `signal ${endStatus}`}${because}`;
  const words = STATUS_WORDS[endStatus];
  return `status ${endStatus}${words === undefined ? '' : `, ${words}`}${because}`;
}

/** The setting of the unit that ends a program in this way. */
function remedyOf(unit: UnitSettings): string | undefined {
  const { endedBy, endStatus, memoryDenyWriteExecute, limitAs, result } = unit;
  if (result === 'oom-kill') return 'a larger MemoryMax=, or a smaller Envoy';
  if (result === 'watchdog') return 'WatchdogSec= is shorter than this host can keep: raise it';
  if (endedBy !== 'signal') return undefined;
  const signal = SIGNALS[endStatus];
  if (signal === 'SIGSYS') return 'SystemCallFilter= forbids a call that it needs: add @system-service';
  if (signal === 'SIGXCPU') return 'LimitCPU=infinity';
  if (signal === 'SIGXFSZ') return 'LimitFSIZE=infinity';
  if (signal === 'SIGKILL') return 'MemoryMax= of the unit or the memory of the host: journalctl -k';
  if (memoryDenyWriteExecute) return 'MemoryDenyWriteExecute=no';
  return limitAs !== undefined && Number.isFinite(limitAs) ? 'LimitAS=infinity' : undefined;
}
