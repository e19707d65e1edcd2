/** The settings of a unit in force that a stop depends on. */
export interface UnitSettings {
  readonly id: string;
  readonly loadState: string;
  readonly needsReload: boolean;
  readonly type: string;
  readonly notifyAccess: string;
  readonly killMode: string;
  readonly killSignal: string;
  /** `undefined` if it cannot be read; infinity for none. */
  readonly timeoutStopMs: number | undefined;
  readonly timeoutStartMs: number | undefined;
  /** `undefined` while it does not run. */
  readonly mainPid: number | undefined;
  readonly after: ReadonlySet<string>;
  /** Units that are ordered after it, and so stop before it. */
  readonly before: ReadonlySet<string>;
  readonly conflicts: ReadonlySet<string>;
  readonly defaultDependencies: boolean;
  readonly user: string;
  readonly activeState: string;
  /** How its last run ended. */
  readonly result: string;
  /** How its last process ended; `none` before the first end. */
  readonly endedBy: 'exit' | 'signal' | 'none';
  /** The exit status, or the number of the signal. */
  readonly endStatus: number;
  /** How often systemd started it again by itself. */
  readonly restarts: number;
  readonly memoryDenyWriteExecute: boolean;
  readonly noNewPrivileges: boolean;
  /** `undefined` if it is not told; infinity for none. */
  readonly limitAs: number | undefined;
  /** Empty if systemd does not say. */
  readonly restart: string;
  readonly sendSigkill: boolean;
  readonly finalKillSignal: string;
  /** The words of the command. */
  readonly execStart: readonly string[];
  /** In small letters; `undefined` if systemd does not say. */
  readonly capabilities: readonly string[] | undefined;
  /** Each command as words. */
  readonly execStopPost: readonly string[];
  readonly execStop: readonly string[];
  readonly runtimeDirectories: readonly string[];
  readonly runtimeDirectoryPreserve: string;
  /** The hard limit, which kuma-dp and Envoy may raise theirs to. `undefined` if it is not told; infinity for none. */
  readonly limitNofile: number | undefined;
  /** What `EnvironmentFile=` names, in order. */
  readonly environmentFiles: readonly string[];
  /** What `Environment=` sets, as systemd prints it. */
  readonly environment: string;
}

/** A unit that is ordered after the dataplane's. */
export interface OrderedUnit {
  readonly id: string;
  /** Whether it takes the dataplane out of rotation before it stops. */
  readonly drains: boolean;
}

/** Asked for by name: `systemctl show --property=…`. */
export const UNIT_PROPERTIES = [
  'Id',
  'LoadState',
  'NeedDaemonReload',
  'Type',
  'NotifyAccess',
  'KillMode',
  'KillSignal',
  'TimeoutStopUSec',
  'TimeoutStartUSec',
  'MainPID',
  'After',
  'User',
  'ActiveState',
  'Result',
  'Before',
  'Conflicts',
  'DefaultDependencies',
  'Restart',
  'SendSIGKILL',
  'FinalKillSignal',
  'ExecStart',
  'CapabilityBoundingSet',
  'ExecStopPost',
  'ExecStop',
  'RuntimeDirectory',
  'RuntimeDirectoryPreserve',
  'LimitNOFILE',
  'EnvironmentFiles',
  'Environment',
  'NRestarts',
  'ExecMainCode',
  'ExecMainStatus',
  'MemoryDenyWriteExecute',
  'NoNewPrivileges',
  'LimitAS',
] as const;

/** Properties of the neighbouring units. */
export const ORDERED_UNIT_PROPERTIES = ['Id', 'LoadState', 'ExecStop'] as const;

/** Reads what `systemctl show` prints: `Key=value`, one a line. A missing key is empty. */
export function readUnitSettings(text: string): UnitSettings {
  const values = readProperties(text);
  const value = (key: (typeof UNIT_PROPERTIES)[number]): string => values.get(key)?.at(-1) ?? '';
  const mainPid = Number(value('MainPID'));
  return {
    id: value('Id'),
    loadState: value('LoadState'),
    needsReload: value('NeedDaemonReload') === 'yes',
    type: value('Type'),
    notifyAccess: value('NotifyAccess'),
    killMode: value('KillMode'),
    killSignal: value('KillSignal'),
    timeoutStopMs: parseTimeSpan(value('TimeoutStopUSec')),
    timeoutStartMs: parseTimeSpan(value('TimeoutStartUSec')),
    mainPid: mainPid > 0 ? mainPid : undefined,
    after: new Set(words(value('After'))),
    before: new Set(words(value('Before'))),
    conflicts: new Set(words(value('Conflicts'))),
    defaultDependencies: value('DefaultDependencies') !== 'no',
    user: value('User'),
    activeState: value('ActiveState'),
    result: value('Result'),
    restart: value('Restart'),
    sendSigkill: value('SendSIGKILL') !== 'no',
    finalKillSignal: value('FinalKillSignal'),
    execStart: words((values.get('ExecStart') ?? []).flatMap(commandOf).join(' ')),
    capabilities: values.has('CapabilityBoundingSet') ? words(value('CapabilityBoundingSet')) : undefined,
    execStopPost: (values.get('ExecStopPost') ?? []).flatMap(commandOf),
    execStop: (values.get('ExecStop') ?? []).flatMap(commandOf),
    runtimeDirectories: words(value('RuntimeDirectory')),
    runtimeDirectoryPreserve: value('RuntimeDirectoryPreserve'),
    limitNofile: readLimit(value('LimitNOFILE')),
    environmentFiles: (values.get('EnvironmentFiles') ?? []).map((file) =>
      file.replace(/ \(ignore_errors=\w+\)$/, ''),
    ),
    environment: value('Environment'),
    endedBy: endOf(Number(value('ExecMainCode'))),
    endStatus: Number(value('ExecMainStatus')),
    restarts: Number(value('NRestarts')),
    memoryDenyWriteExecute: value('MemoryDenyWriteExecute') === 'yes',
    noNewPrivileges: value('NoNewPrivileges') === 'yes',
    limitAs: readLimit(value('LimitAS')),
  };
}

/** The services among what `systemctl show` prints of several units: a blank line between them. */
export function readOrderedUnits(text: string): readonly OrderedUnit[] {
  return text.split('\n\n').flatMap((block) => {
    const values = readProperties(block);
    const id = values.get('Id')?.[0] ?? '';
    if (id === '' || values.get('LoadState')?.[0] !== 'loaded') return [];
    const commands = (values.get('ExecStop') ?? []).flatMap(commandOf);
    return [{ id, drains: commands.some((command) => /kuma-dp-agent\b.*\bdrain\b/.test(command)) }];
  });
}

/** The services that stop before this one; systemd's own units serve no requests. */
export function applicationsOf({ before }: UnitSettings): readonly string[] {
  return [...before].filter((unit) => unit.endsWith('.service') && !unit.startsWith('systemd-'));
}

/** `Key=value`, one a line; a list of commands has a line for each. */
function readProperties(text: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals === -1) continue;
    const key = line.slice(0, equals);
    values.set(key, [...(values.get(key) ?? []), line.slice(equals + 1)]);
  }
  return values;
}

/** `{ path=/usr/bin/true ; argv[]=/usr/bin/true --all ; ignore_errors=no ; … }` → `/usr/bin/true --all` */
function commandOf(text: string): readonly string[] {
  const argv = / argv\[\]=(.*?) ; /.exec(text)?.[1];
  return argv === undefined ? [] : [argv];
}

/** CLD_EXITED, CLD_KILLED and CLD_DUMPED of sigaction(2). */
function endOf(code: number): UnitSettings['endedBy'] {
  if (code === 1) return 'exit';
  return code === 2 || code === 3 ? 'signal' : 'none';
}

function words(text: string): readonly string[] {
  return text.split(' ').filter(Boolean);
}

function readLimit(text: string): number | undefined {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  us: 1e-3,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

const TERM = /^(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w)$/;

/**
 * Reads a time span as systemd prints it: `1min 15s`, `500ms`, `infinity`, `0`.
 *
 * @see https://www.freedesktop.org/software/systemd/man/latest/systemd.time.html
 */
export function parseTimeSpan(text: string): number | undefined {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  if (text === '0') return 0;
  const terms = text.split(' ').map((term) => TERM.exec(term));
  if (text === '' || terms.includes(null)) return undefined;
  return terms.reduce((sumMs, term) => sumMs + Number(term?.[1]) * (UNIT_MS[term?.[2] ?? ''] ?? 0), 0);
}

/**
 * The file that decides a setting, in what `systemctl cat` prints: each file below a line `# /its/path`.
 *
 * @returns `undefined` if none sets it: systemd's default holds
 */
export function whoSets(catText: string, setting: string): string | undefined {
  let file: string | undefined;
  let last: string | undefined;
  for (const line of catText.split('\n')) {
    const header = /^# (\/\S+)$/.exec(line);
    if (header !== null) file = header[1];
    else if (line.replace(/\s*=.*$/, '') === setting && line.includes('=')) last = file;
  }
  return last;
}

/** The service that a process belongs to, in its /proc/PID/cgroup: the innermost. */
export function unitOfCgroup(cgroup: string): string | undefined {
  return (
    cgroup
      .split('\n')
      // Version 2 has one line; version 1 has systemd's own among others. Where both are mounted, one of them may be idle.
      .filter((line) => line.startsWith('0::') || line.includes(':name=systemd:'))
      .map((path) => path.split('/').findLast((part) => part.endsWith('.service')))
      .find((service) => service !== undefined && !service.startsWith('user@'))
  );
}

/** The user whose own systemd has the unit of a process, in its /proc/PID/cgroup; `undefined` for the host's systemd. */
export function userManagerOf(cgroup: string): number | undefined {
  const uid = /\/user@(\d+)\.service\/.*\.service\b/.exec(cgroup)?.[1];
  return uid === undefined ? undefined : Number(uid);
}

/**
 * Whether systemd is restarting this unit: its application then outlives the stop.
 *
 * @param jobs what `systemctl list-jobs --no-legend --plain` prints: number, unit, type and state of each job
 */
export function isRestartJob(jobs: string, unit: string): boolean {
  return jobs.split('\n').some((line) => {
    const [, name, type = ''] = words(line.trim());
    return name === unit && type.endsWith('restart');
  });
}
