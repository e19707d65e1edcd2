import type { Finding } from '../../kernel/findings.ts';
import { isKumaDpName } from '../../kuma/kuma-dp-name.ts';
import type { UnitSettings } from '../systemd/systemd-unit.pure.ts';

/** They need root's capabilities for a moment, even to start a program with fewer. */
const USER_SWITCHES: ReadonlySet<string> = new Set(
  'su runuser sudo doas setpriv gosu su-exec chpst setuidgid s6-setuidgid'.split(' '),
);
/** They become root by the mode of their file. */
const SETUID_PROGRAMS: ReadonlySet<string> = new Set(['su', 'sudo', 'doas']);

const ROOT: ReadonlySet<string> = new Set(['', 'root', '0']);

/** What breaks where a program in ExecStart= starts kuma-dp as another user than the unit's. */
export function judgeUserSwitch(unit: UnitSettings): readonly Finding[] {
  const names = unit.execStart.map((word) => word.slice(word.lastIndexOf('/') + 1));
  const program = names.slice(0, names.findIndex(isKumaDpName)).find((name) => USER_SWITCHES.has(name));
  if (program === undefined) return [];
  return ROOT.has(unit.user) ? judgeCapabilities(program, unit) : judgePrivileges(program, unit);
}

function judgeCapabilities(program: string, { capabilities }: UnitSettings): readonly Finding[] {
  const lost = (...names: readonly string[]): string =>
    names
      .filter((name) => capabilities?.includes(name) === false)
      .map((name) => name.toUpperCase())
      .join(', ');
  const finding = (level: Finding['level'], says: string): Finding => ({
    level,
    about: 'CapabilityBoundingSet',
    says,
    remedy: `User= in place of ${program}; or CapabilityBoundingSet=~, which takes nothing away`,
  });
  const toSwitch = lost('cap_setuid', 'cap_setgid');
  if (toSwitch !== '')
    return [
      finding(
        'failure',
        `lacks ${toSwitch}: ${program} in ExecStart= cannot switch the user, so kuma-dp is never started`,
      ),
    ];
  const findings: Finding[] = [];
  const toSignal = lost('cap_kill');
  if (toSignal !== '')
    findings.push(
      finding(
        'failure',
        `lacks ${toSignal}: the agent may not signal the kuma-dp that ${program} starts as another user, so a stop ends with SIGKILL or cuts requests`,
      ),
    );
  const toRead = lost('cap_dac_override');
  if (toRead !== '')
    findings.push(
      finding(
        'warning',
        `lacks ${toRead}: the agent cannot ask the Envoy that ${program} starts as another user, so a stop lasts kuma-dp's full drain time`,
      ),
    );
  return findings;
}

function judgePrivileges(program: string, unit: UnitSettings): readonly Finding[] {
  if (!unit.noNewPrivileges || !SETUID_PROGRAMS.has(program)) return [];
  return [
    {
      level: 'failure',
      about: 'NoNewPrivileges',
      says: `yes: ${program} in ExecStart= cannot become another user than ${unit.user}, so kuma-dp is never started`,
      remedy: `User= of kuma-dp's in place of ${program}; or NoNewPrivileges=no`,
    },
  ];
}
