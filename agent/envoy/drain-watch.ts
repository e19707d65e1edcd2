import { sleep, type Clock } from '../../kernel/clock.ts';
import {
  ACTIVITY_STATS_FILTER,
  followQuiet,
  NO_OUTBOUNDS,
  readActivity,
  readOutboundNames,
  type OutboundNames,
  type Quiet,
} from './envoy-activity.pure.ts';
import type { EnvoyAdmin } from '../ports.ts';

export interface DrainWatchOptions {
  readonly clock: Clock;
  readonly admin: EnvoyAdmin;
  /** No end before this much has passed, however quiet it is. Asked each time: it may change while Envoy drains. */
  readonly floorMs: () => number;
  readonly stopped: AbortSignal;
}

const POLL_MS = 100;
/** No active request and none that began, for this long, is the end of a drain. */
const QUIET_MS = 500;
/** After so many failures in a row the admin counts as unreachable. */
const FAILURES_ALLOWED = 5;

/**
 * Resolves once Envoy has served its last request.
 *
 * @throws the admin's failure if it stops answering, or the reason of `stopped`
 */
export async function untilDrained(options: DrainWatchOptions): Promise<void> {
  const { clock, admin, floorMs, stopped } = options;
  const startedAtMs = clock.monotonicMs();
  const outbound = await outboundNames(admin);
  let quiet: Quiet | undefined;
  for (let failures = 0; ;) {
    try {
      const activity = readActivity(await admin.stats(ACTIVITY_STATS_FILTER), outbound);
      failures = 0;
      const nowMs = clock.monotonicMs();
      quiet = followQuiet(quiet, activity, nowMs);
      if (quiet !== undefined && nowMs - quiet.sinceMs >= QUIET_MS && nowMs - startedAtMs >= floorMs())
        return;
    } catch (error) {
      failures += 1;
      if (failures >= FAILURES_ALLOWED) throw error;
    }
    await sleep(clock, POLL_MS, stopped);
  }
}

/** Without the listeners' directions everything counts as inbound: longer at worst, never shorter. */
function outboundNames(admin: EnvoyAdmin): Promise<OutboundNames> {
  return admin.listenerConfig().then(readOutboundNames, () => NO_OUTBOUNDS);
}
