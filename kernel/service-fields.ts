/** One notification to systemd. */
export interface ServiceFields {
  readonly ready?: true;
  readonly stopping?: true;
  /** One line for people: `systemctl status` shows it. */
  readonly status?: string;
  /** How much longer the service manager should wait, from now. */
  readonly extendMs?: number;
  /** Resets the watchdog. */
  readonly alive?: true;
}

/** Merges two notifications: the later value wins, and one-time messages are kept. */
export function mergeFields(earlier: ServiceFields | undefined, later: ServiceFields): ServiceFields {
  return { ...earlier, ...later };
}

/**
 * The assignments of sd_notify(3). Milliseconds are cut to whole microseconds; a status is one line.
 *
 * @see https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
 */
export function toAssignments(fields: ServiceFields): readonly string[] {
  const { ready, stopping, status, extendMs, alive } = fields;
  return [
    ...(ready === undefined ? [] : ['READY=1']),
    ...(stopping === undefined ? [] : ['STOPPING=1']),
    ...(status === undefined ? [] : [`STATUS=${status.replaceAll(/\s+/g, ' ')}`]),
    ...(extendMs === undefined ? [] : [`EXTEND_TIMEOUT_USEC=${Math.floor(extendMs * 1_000)}`]),
    ...(alive === undefined ? [] : ['WATCHDOG=1']),
  ];
}

/** The notification socket and the watchdog interval, from the environment. */
export interface NotifyTarget {
  readonly socket: string;
  readonly watchdogMs: number | undefined;
}

/** @returns `undefined` where no service manager listens */
export function readNotifyTarget(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): NotifyTarget | undefined {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: limit, WATCHDOG_PID: watched } = env;
  if (socket === undefined || socket === '') return undefined;
  // sd_watchdog_enabled(3): not ours, where another process is named.
  const ours = watched === undefined || watched === '' || Number(watched) === pid;
  const limitMs = Number(limit) / 1_000;
  return { socket, watchdogMs: ours && limitMs > 0 ? limitMs : undefined };
}
