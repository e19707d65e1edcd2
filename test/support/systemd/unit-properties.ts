import type { BootedSystemd } from './booted-systemd.ts';

/** How a unit is, or ended: state, result, exit status of its main process, and how often systemd started it by itself. */
export async function stateOf(systemd: BootedSystemd, unit: string): Promise<string> {
  const names = ['ActiveState', 'SubState', 'Result', 'ExecMainStatus', 'NRestarts'];
  const shown = await systemd.systemctl('show', '--property', names.join(','), unit);
  return names.map((name) => new RegExp(`^${name}=(.*)$`, 'm').exec(shown)?.[1]).join(' ');
}

/** After a stop in order. */
export const STOPPED_CLEANLY = 'inactive dead success 0 0';
