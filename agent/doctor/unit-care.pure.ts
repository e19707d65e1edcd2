import type { Finding } from '../../kernel/findings.ts';
import { whoSets, type OrderedUnit, type UnitSettings } from '../systemd/systemd-unit.pure.ts';

export interface CareGiven {
  readonly unit: UnitSettings;
  /** What `systemctl cat` prints; empty if it could not be had. */
  readonly cat: string;
  readonly stateDir: string;
  /** Whether a companion would finish what a killed agent leaves. */
  readonly companion: boolean;
  /** The services that are ordered after this one, and so stop before it. */
  readonly orderedAfter: readonly OrderedUnit[];
  /** Programs that were looked for where the unit looks, and not found. */
  readonly missing: ReadonlySet<HelperProgram>;
}

export type HelperProgram = 'sh' | 'systemd-notify';

/** What happens to a dataplane whose agent is killed, and to its neighbours. Usual settings produce no finding. */
export function judgeCare(given: CareGiven): readonly Finding[] {
  if (given.unit.loadState !== 'loaded') return [];
  return [
    ...judgeNow(given),
    judgeAfterKill(given),
    judgeRestart(given),
    ...judgeStateFolder(given),
    ...judgeExecStop(given),
    ...judgeLastKill(given),
    ...judgeShutdown(given),
    ...judgeDescriptors(given),
    ...judgePrograms(given),
    ...judgeApplications(given),
  ];
}

/** @see systemd.service(5), $SERVICE_RESULT */
function judgeNow({ unit: { id, activeState, result } }: CareGiven): readonly Finding[] {
  // With Restart=always systemd tries it again and again, and it never counts as failed.
  const unstarted = result === 'resources' && activeState !== 'active';
  if (activeState !== 'failed' && !unstarted) return [];
  const cause = unstarted
    ? ': systemd could not start it, most often because a file (EnvironmentFile= without "-") or folder is missing'
    : '';
  const about = 'now';
  return [
    { level: 'warning', about, says: `${activeState}, ${result}${cause}`, remedy: `journalctl -u ${id}` },
  ];
}

const FALLBACK = 'ExecStopPost=-/usr/bin/kuma-dp-agent deregister --state';

function judgeAfterKill({ unit: { execStopPost }, stateDir, companion }: CareGiven): Finding {
  const about = 'after a killed agent';
  const finisher = execStopPost.find((command) => /kuma-dp-agent(\S*) .*\bderegister\b/.test(command));
  if (finisher === undefined) {
    if (companion)
      return {
        level: 'ok',
        about,
        says: "no ExecStopPost, but the companion finishes a killed agent's stop",
      };
    const says =
      'no ExecStopPost: after the agent is killed, its object stays until the control plane notices';
    return { level: 'warning', about, says, remedy: `${FALLBACK} ${stateDir}` };
  }
  const [, looksIn] = / --state[= ](\S+)/.exec(finisher) ?? [];
  if (looksIn !== undefined && !isWithin(looksIn, stateDir)) {
    const says = `ExecStopPost looks in ${looksIn}, but the agent leaves its state in ${stateDir}`;
    return { level: 'warning', about, says, remedy: `${FALLBACK} ${stateDir}` };
  }
  return { level: 'ok', about, says: 'ExecStopPost finishes its stop' };
}

function isWithin(path: string, folder: string): boolean {
  return path.replace(/\/$/, '') === folder.replace(/\/$/, '') || path.startsWith(`${folder}/`);
}

function judgeRestart({ unit: { restart }, cat }: CareGiven): Finding {
  const about = 'Restart';
  const file = whoSets(cat, about);
  const says = `${restart}${file === undefined ? '' : ` (${file})`}`;
  return ['no', 'on-success'].includes(restart)
    ? {
        level: 'warning',
        about,
        says: `${says}: after a crash the dataplane stays down`,
        remedy: 'Restart=always and RestartSec=1s',
      }
    : { level: 'ok', about, says: restart === '' ? 'systemd does not say' : says };
}

/** The folder keeps a drain and the pacing of a restart. */
function judgeStateFolder({ unit, stateDir }: CareGiven): readonly Finding[] {
  const { runtimeDirectories, runtimeDirectoryPreserve: preserve } = unit;
  const owned = runtimeDirectories.some((name) => isWithin(stateDir, `/run/${name}`));
  if (!owned || preserve !== 'no') return [];
  return [
    {
      level: 'warning',
      about: 'RuntimeDirectory',
      says: `${stateDir} is removed at each stop: the agent forgets a drain, and a start does not wait until its name is accepted`,
      remedy: 'RuntimeDirectoryPreserve=yes',
    },
  ];
}

const ENDS_AT_ONCE =
  /\b(?:p?kill|killall|skill)\b.*(?:-(?:s *)?(?:SIG)?(?:9|KILL|ABRT|6|QUIT|3)\b|\b(?:envoy|kuma-dp)\b)/;

/** ExecStop runs first, and the agent hears of the stop only after it. */
function judgeExecStop({ unit: { execStop } }: CareGiven): readonly Finding[] {
  const hasty = execStop.find((command) => ENDS_AT_ONCE.test(command) && !command.includes('kuma-dp-agent'));
  if (hasty === undefined) return [];
  return [
    {
      level: 'failure',
      about: 'ExecStop',
      says: `${hasty}: ends kuma-dp or Envoy before the agent hears of the stop`,
      remedy: 'ExecStop= (empty) in a drop-in: systemd then sends SIGTERM to the agent',
    },
  ];
}

function judgeLastKill({ unit: { sendSigkill, finalKillSignal } }: CareGiven): readonly Finding[] {
  const about = 'end of a stop that hangs';
  if (!sendSigkill) {
    const says = 'SendSIGKILL=no: a process that does not end keeps serving without supervision';
    return [{ level: 'warning', about, says, remedy: 'SendSIGKILL=yes, which is the default' }];
  }
  if (['9', 'SIGKILL', ''].includes(finalKillSignal)) return [];
  const says = `FinalKillSignal=${finalKillSignal}: a process that ignores it keeps running`;
  return [{ level: 'warning', about, says, remedy: 'FinalKillSignal=SIGKILL, which is the default' }];
}

function judgeShutdown({ unit: { defaultDependencies, conflicts } }: CareGiven): readonly Finding[] {
  if (defaultDependencies || conflicts.has('shutdown.target')) return [];
  return [
    {
      level: 'warning',
      about: 'reboot and power-off',
      says: 'DefaultDependencies=no, and no Conflicts=shutdown.target: systemd kills it at shutdown, without a stop',
      remedy: 'DefaultDependencies=yes, or Conflicts=shutdown.target and Before=shutdown.target',
    },
  ];
}

/** Envoy needs two for each request that it forwards, and some for itself. */
const FEW_DESCRIPTORS = 4_096;

function judgeDescriptors({ unit: { limitNofile } }: CareGiven): readonly Finding[] {
  if (limitNofile === undefined || limitNofile >= FEW_DESCRIPTORS) return [];
  return [
    {
      level: 'warning',
      about: 'LimitNOFILE',
      says: `${limitNofile}: Envoy needs two descriptors for each request that it forwards`,
      remedy: 'LimitNOFILE=1048576',
    },
  ];
}

function judgePrograms({ unit: { type }, missing }: CareGiven): readonly Finding[] {
  const findings: Finding[] = [];
  if (missing.has('sh')) {
    findings.push({
      level: 'warning',
      about: 'sh',
      says: 'not found: if the agent is killed, kuma-dp and Envoy keep running without it',
      remedy: 'install a POSIX shell',
    });
  }
  if (missing.has('systemd-notify') && type.startsWith('notify')) {
    findings.push({
      level: 'failure',
      about: 'systemd-notify',
      says: `not found: with Type=${type} the unit never becomes active`,
      remedy: "install systemd's own tools, or Type=simple",
    });
  }
  return findings;
}

const NAMED_APPLICATIONS = 3;

/** These units stop before the dataplane, while peers still send to it. */
function judgeApplications({ orderedAfter, unit: { id } }: CareGiven): readonly Finding[] {
  const hasty = orderedAfter.filter(({ drains }) => !drains).map((unit) => unit.id);
  if (hasty.length === 0) return [];
  const more = hasty.length > NAMED_APPLICATIONS ? ` and ${hasty.length - NAMED_APPLICATIONS} more` : '';
  const named = `${hasty.slice(0, NAMED_APPLICATIONS).join(', ')}${more}`;
  return [
    {
      level: 'warning',
      about: 'applications',
      says: `${named}: ordered after ${id}, so stopped before it, while peers still send requests`,
      remedy:
        'in each of them: ExecStop=-+/usr/bin/kuma-dp-agent drain --wait, unless it takes no requests from the mesh',
    },
  ];
}
