import { formatDuration } from '../../kernel/duration.ts';
import type { Finding } from '../../kernel/findings.ts';
import { LAST_WORDS_MS } from '../stop/stop-budget.pure.ts';
import { whoSets, type UnitSettings } from '../systemd/systemd-unit.pure.ts';

export interface UnitGiven {
  readonly unit: UnitSettings;
  /** What `systemctl cat` prints; empty if it could not be had. */
  readonly cat: string;
  readonly budgetMs: number;
  /** The command line of the main process; `undefined` if it does not run or may not be seen. */
  readonly mainArgv: readonly string[] | undefined;
  /** Whether an endpoint has to be looked up by name. */
  readonly needsNames: boolean;
}

/** How long kuma-dp tries to get its bootstrap. */
const KUMA_DP_PATIENCE_MS = 300_000;

/** The settings of the unit that would break a stop. */
export function judgeUnit(given: UnitGiven): readonly Finding[] {
  const { unit } = given;
  if (unit.loadState !== 'loaded') {
    return [
      {
        level: 'failure',
        about: `unit ${unit.id}`,
        says: unit.loadState === '' ? 'systemd does not know it' : unit.loadState,
        remedy: 'name the unit that runs kuma-dp: --unit NAME',
      },
    ];
  }
  const supervisor = supervisorOf(given.mainArgv ?? []);
  if (supervisor !== undefined) {
    return [judgeReload(unit), judgeSupervisor(unit, supervisor), judgeKillMode(given)];
  }
  return [
    judgeReload(unit),
    judgeKillMode(given),
    judgeKillSignal(given),
    judgeTimeoutStop(given),
    judgeReadiness(given),
    judgeMainProcess(given),
    judgeOrder(given),
  ];
}

function judgeReload({ id, needsReload }: UnitSettings): Finding {
  const about = `unit ${id}`;
  return needsReload
    ? {
        level: 'warning',
        about,
        says: 'its files changed after systemd read them: the lines below show what systemd uses',
        remedy: 'systemctl daemon-reload',
      }
    : { level: 'ok', about, says: 'as its files say' };
}

function judgeKillMode({ unit, cat }: UnitGiven): Finding {
  const about = 'KillMode';
  const says = `${unit.killMode}${setBy(cat, about)}`;
  switch (unit.killMode) {
    case 'mixed':
      return { level: 'ok', about, says };
    case 'process':
      return {
        level: 'warning',
        about,
        says: `${says}: after the agent is killed, its processes keep running`,
        remedy: 'KillMode=mixed',
      };
    default:
      return {
        level: 'failure',
        about,
        says: `${says}: ${unit.killMode === 'none' ? 'no process is told to stop' : 'Envoy is told to stop at the same moment as the agent, and drops what it serves'}`,
        remedy: 'KillMode=mixed',
      };
  }
}

/** The signals that begin a stop, as systemd writes them. */
const STOP_SIGNALS: ReadonlySet<string> = new Set(['15', '2', '1', 'SIGTERM', 'SIGINT', 'SIGHUP', '']);

function judgeKillSignal({ unit: { killSignal }, cat }: UnitGiven): Finding {
  const about = 'KillSignal';
  const says = `${killSignal === '' ? 'not told' : killSignal}${setBy(cat, about)}`;
  return STOP_SIGNALS.has(killSignal)
    ? { level: 'ok', about, says }
    : {
        level: 'failure',
        about,
        says: `${says}: it does not ask the agent to stop`,
        remedy: 'KillSignal=SIGTERM, which is the default',
      };
}

function judgeTimeoutStop(given: UnitGiven): Finding {
  const { unit, cat, budgetMs } = given;
  const about = 'TimeoutStopSec';
  const budget = formatDuration(budgetMs);
  if (unit.timeoutStopMs === undefined) return { level: 'unseen', about, says: 'systemd does not say' };
  const says = `${formatLimit(unit.timeoutStopMs)}${setBy(cat, about)}, the stop budget is ${budget}`;
  if (unit.timeoutStopMs >= budgetMs + LAST_WORDS_MS) return { level: 'ok', about, says };
  const remedy = `TimeoutStopSec=${Math.ceil(budgetMs / 1_000) + 15}s, or a smaller --stop-budget`;
  return hears(unit)
    ? { level: 'warning', about, says: `${says}; the agent asks for more time, which systemd grants`, remedy }
    : { level: 'failure', about, says: `${says}: SIGKILL comes first`, remedy };
}

/** Whether systemd listens to the agent's children. As root, systemd-notify speaks in the agent's name. */
function hears({ notifyAccess, user }: UnitSettings): boolean {
  return notifyAccess === 'all' || (notifyAccess === 'main' && ['', 'root', '0'].includes(user));
}

function judgeReadiness({ unit, cat }: UnitGiven): Finding {
  const { type, notifyAccess } = unit;
  const about = 'Type';
  const says = `${type}${setBy(cat, about)}, NotifyAccess=${notifyAccess}`;
  if (type === 'simple' || type === 'exec' || type === 'idle') {
    return {
      level: 'ok',
      about,
      says: `${says}: the unit is active before Envoy serves (Type=notify waits)`,
    };
  }
  if (!type.startsWith('notify')) {
    return {
      level: 'failure',
      about,
      says: `${says}: the agent stays in the foreground and reports when it is ready`,
      remedy: 'Type=notify with NotifyAccess=all',
    };
  }
  if (!hears(unit)) {
    return {
      level: 'failure',
      about,
      says: `${says}: systemd ignores systemd-notify, a child of the agent, and the start times out`,
      remedy: 'NotifyAccess=all',
    };
  }
  const { timeoutStartMs } = unit;
  if (timeoutStartMs !== undefined && timeoutStartMs <= KUMA_DP_PATIENCE_MS) {
    return {
      level: 'warning',
      about,
      says: `${says}, TimeoutStartSec=${formatLimit(timeoutStartMs)}: if the control plane is down at boot, systemd restarts the unit in a loop`,
      remedy: 'TimeoutStartSec=infinity',
    };
  }
  return { level: 'ok', about, says };
}

/** Programs that start the agent themselves, by the setting that bounds its stop. */
const SUPERVISORS: Readonly<Record<string, string>> = {
  supervisord: 'stopwaitsecs= (10 s by default)',
  runsvdir: '"sv -w" (7 s by default) and its "force-" commands',
  runsv: '"sv -w" (7 s by default) and its "force-" commands',
  's6-svscan': 'timeout-kill',
  's6-supervise': 'timeout-kill',
  monit: '"with timeout"',
  nomad: 'kill_timeout (5 s by default)',
  dockerd: '--stop-timeout (10 s by default)',
  containerd: '--stop-timeout (10 s by default)',
  'containerd-shim-runc-v2': '--stop-timeout (10 s by default)',
  conmon: '--stop-timeout (10 s by default)',
  pm2: 'kill_timeout (1.6 s by default)',
  circusd: 'graceful_timeout (30 s by default)',
};

interface FoundSupervisor {
  readonly program: string;
  readonly bound: string;
}

/** The program may be a script: its name is then the second word. */
export function supervisorOf(argv: readonly string[]): FoundSupervisor | undefined {
  for (const word of argv.slice(0, 2)) {
    const program = programOf([word]);
    const bound = SUPERVISORS[program];
    if (bound !== undefined) return { program, bound };
  }
  return undefined;
}

function judgeSupervisor({ id, mainPid }: UnitSettings, { program, bound }: FoundSupervisor): Finding {
  return {
    level: 'warning',
    about: 'supervisor',
    says: `${program} (pid ${mainPid}, ${id}) starts and stops the agent, so the limit is its own: ${bound}`,
    remedy: `set it above the stop budget, and ask again with --supervisor-timeout`,
  };
}

const AGENT = /(^|\/)kuma-dp-agent(\/main\.js)?$/;

/** For an interpreter the script is the program; behind sudo and similar programs the agent is a later word. */
export function isAgentCommand(argv: readonly string[]): boolean {
  return (
    AGENT.test(argv[0] ?? '') ||
    (/^(node|nodejs)$/.test(programOf(argv)) && argv.some((word) => AGENT.test(word)))
  );
}

function programOf([program = '']: readonly string[]): string {
  return program.split('/').at(-1) ?? '';
}

function judgeMainProcess({ unit: { mainPid }, mainArgv }: UnitGiven): Finding {
  const about = 'main process';
  if (mainPid === undefined) return { level: 'unseen', about, says: 'the unit does not run' };
  if (mainArgv === undefined || mainArgv.length === 0) {
    return { level: 'unseen', about, says: `pid ${mainPid}, which this user may not inspect` };
  }
  const program = programOf(mainArgv);
  if (isAgentCommand(mainArgv)) return { level: 'ok', about, says: `pid ${mainPid} is the agent` };
  const behind = mainArgv.some((word) => AGENT.test(word));
  return {
    level: 'failure',
    about,
    says: `pid ${mainPid} is ${program}${behind ? ', which stands between systemd and the agent' : ', not kuma-dp-agent'}`,
    remedy: behind
      ? 'let ExecStart run the agent itself: User= instead of sudo, exec in a shell script'
      : 'put "kuma-dp-agent run --" in front of the command in ExecStart, and restart',
  };
}

const NETWORK: readonly string[] = ['network-online.target', 'network.target', 'network-pre.target'];

function judgeOrder({ unit: { after }, needsNames }: UnitGiven): Finding {
  const about = 'order';
  const missing = [
    ...(NETWORK.slice(0, 2).some((target) => after.has(target)) ? [] : ['network-online.target']),
    ...(needsNames && !after.has('nss-lookup.target') ? ['nss-lookup.target'] : []),
  ];
  if (missing.length > 0) {
    return {
      level: 'warning',
      about,
      says: `not after ${missing.join(' and ')}: at a reboot the network may stop before the dataplane has left`,
      remedy: `After=${[...missing, ...(after.has('time-sync.target') ? [] : ['time-sync.target'])].join(' ')}`,
    };
  }
  const synchronised = after.has('time-sync.target')
    ? ''
    : '; not after time-sync.target, so a token may be refused at the first start';
  return { level: 'ok', about, says: `stops before the network does${synchronised}` };
}

function setBy(cat: string, setting: string): string {
  const file = whoSets(cat, setting);
  return file === undefined ? (cat === '' ? '' : " (systemd's default)") : ` (${file})`;
}

function formatLimit(limitMs: number): string {
  return Number.isFinite(limitMs) ? formatDuration(limitMs) : 'infinity';
}
