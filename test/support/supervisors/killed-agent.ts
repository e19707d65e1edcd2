import { waitUntil } from '../world/wait-until.ts';
import type { DataplaneHost } from './dataplane-host.ts';

/** The state when the next agent was there. */
export interface OrphanedDrain {
  readonly sameKumaDp: boolean;
  readonly sameEnvoy: boolean;
  /** How many stop signals kuma-dp received. */
  readonly told: number;
  /** Of the request that was under way. */
  readonly status: number | 'cut';
}

/** The old processes drain after one signal, and lose nothing. */
export const DRAINED: OrphanedDrain = { sameKumaDp: true, sameEnvoy: true, told: 1, status: 200 };

/** Kills the agent of a host that serves, with a request under way. @returns once the next one serves */
export async function killAgentUnderRequest(here: DataplaneHost): Promise<OrphanedDrain> {
  const [kumaDp, envoy] = [here.pidOf('kuma-dp'), here.pidOf('envoy')];
  const held = await here.hold();

  here.kill('agent');

  await waitUntil(() => here.log.includes('"predecessor.drains"'), { what: 'the next agent' });
  const seen = {
    sameKumaDp: here.findPid('kuma-dp') === kumaDp,
    sameEnvoy: here.findPid('envoy') === envoy,
    told: here.heardAtMs.length,
  };
  here.application.release();
  const status = await held.status;
  await here.untilReplaced('kuma-dp', kumaDp);
  await here.untilServing();
  return { ...seen, status };
}
