import process from 'node:process';

import type { Clock } from '../../kernel/clock.ts';
import { readNotifyTarget } from '../../kernel/service-fields.ts';
import { ServiceManager } from '../../program/service-manager.ts';
import { systemdNotify } from '../../program/systemd-notify.ts';
import type { AgentEvents } from '../events.ts';
import { ServiceNotices } from '../systemd/service-notices.ts';

/** Notifies systemd of the run. */
export function openService(
  env: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  events: AgentEvents,
): ServiceNotices | undefined {
  const target = readNotifyTarget(env, process.pid);
  if (target === undefined) return undefined;
  const manager = new ServiceManager({
    clock,
    send: systemdNotify(clock, target, env['PATH'] ?? ''),
    watchdogMs: target.watchdogMs,
    onUnheard: events.notificationLost,
  });
  return new ServiceNotices({ clock, manager });
}
