import { sleep, type Clock } from '../../kernel/clock.ts';
import { followQuiet, type Quiet } from './envoy-activity.pure.ts';
import { EnvoyGauge } from './envoy-gauge.ts';
import type { EnvoyAdmin } from '../ports.ts';

export interface DrainWatchOptions {
  readonly clock: Clock;
  readonly admin: EnvoyAdmin;
  readonly stopped: AbortSignal;
}

const POLL_MS = 100;
/** A drain ends after this long without an active or a new request. */
const QUIET_MS = 500;
/** After this many failures in a row the admin counts as unreachable. */
const FAILURES_ALLOWED = 5;

/**
 * Resolves once Envoy has served its last inbound request, as the peers of a dataplane out of rotation see it.
 *
 * @throws the admin's failure if it stops answering, or the reason of `stopped`
 */
export async function untilDrained({ clock, admin, stopped }: DrainWatchOptions): Promise<void> {
  const gauge = new EnvoyGauge(admin);
  let quiet: Quiet | undefined;
  for (let failures = 0; ;) {
    try {
      const { inbound, outbound } = (await gauge.read()).activity;
      failures = 0;
      const nowMs = clock.monotonicMs();
      // If the listeners' directions are unreadable, everything counts: the drain is longer at worst, never shorter.
      quiet = followQuiet(quiet, gauge.knowsDirections ? inbound : outbound, nowMs);
      if (quiet !== undefined && nowMs - quiet.sinceMs >= QUIET_MS) return;
    } catch (error) {
      failures += 1;
      if (failures >= FAILURES_ALLOWED) throw error;
    }
    await sleep(clock, POLL_MS, stopped);
  }
}
