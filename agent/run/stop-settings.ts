import { probeApplication } from '../envoy/application-probe.io.ts';
import { ownConnections } from '../envoy/own-connections.io.ts';
import type { DrainDeps } from '../stop/drain.ts';
import { isRestarting } from '../systemd/restart-job.io.ts';
import type { RunRequest } from './run-request.ts';

/** The settings by which a stop decides who still uses Envoy. */
export function stopSettings({
  options,
  env,
}: Pick<RunRequest, 'options' | 'env'>): Pick<DrainDeps, 'outboundHold' | 'externalDrainMs' | 'host'> {
  const { outboundHold, externalDrain } = options;
  return {
    outboundHold,
    externalDrainMs: externalDrain === 'auto' ? undefined : externalDrain,
    host: { probe: probeApplication, isRestart: () => isRestarting(env), ownConnections },
  };
}
