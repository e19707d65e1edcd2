import { spawn } from 'node:child_process';

import type { Clock } from '../kernel/clock.ts';
import type { NotifyTarget } from '../kernel/service-fields.ts';
import type { SendNotice } from './service-manager.ts';

/** It waits until systemd has read the message, 5 s at the most. Longer means that it hangs. */
const PATIENCE_MS = 6_000;

/**
 * Sends through systemd's own `systemd-notify`: Node has no Unix datagram sockets, and this needs no native code. The
 * program waits until the message was read, so that systemd can still tell whose process sent it. The unit needs
 * `NotifyAccess=all`, since the sender is a child of its main process.
 */
export function systemdNotify(clock: Clock, { socket }: NotifyTarget, searchPath: string): SendNotice {
  return (assignments) => {
    const child = spawn('systemd-notify', assignments, {
      stdio: 'ignore',
      env: { NOTIFY_SOCKET: socket, PATH: searchPath },
    });
    const disarm = clock.after(PATIENCE_MS, () => child.kill('SIGKILL'));
    const sent = new Promise<string | undefined>((resolve) => {
      child.once('error', (error: Error) => {
        resolve(`systemd-notify could not be started: ${error.message}`);
      });
      child.once('exit', (code, signal) => {
        resolve(code === 0 ? undefined : `systemd-notify ended with ${signal ?? `exit code ${code}`}`);
      });
    }).finally(disarm);
    return {
      sent,
      abandon: () => {
        disarm();
        child.unref();
      },
    };
  };
}
