/** What systemd has in force for a unit, as far as a stop depends on it. */
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
  readonly user: string;
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
] as const;

/** Reads what `systemctl show` prints: `Key=value`, one a line. What is not there is empty. */
export function readUnitSettings(text: string): UnitSettings {
  const values = new Map(
    text.split('\n').flatMap((line) => {
      const equals = line.indexOf('=');
      return equals === -1 ? [] : [[line.slice(0, equals), line.slice(equals + 1)] as const];
    }),
  );
  const value = (key: (typeof UNIT_PROPERTIES)[number]): string => values.get(key) ?? '';
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
    after: new Set(value('After').split(' ').filter(Boolean)),
    user: value('User'),
  };
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
 * Which file has the last word on a setting, in what `systemctl cat` prints: each file below a line `# /its/path`.
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
  const path = cgroup
    .split('\n')
    // Version 2 has one line; version 1 has systemd's own among others.
    .find((line) => line.startsWith('0::') || line.includes(':name=systemd:'));
  const service = path?.split('/').findLast((part) => part.endsWith('.service'));
  return service === undefined || service.startsWith('user@') ? undefined : service;
}
