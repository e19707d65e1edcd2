import { probeApplication } from '../envoy/application-probe.io.ts';
import { ownConnections } from '../envoy/own-connections.io.ts';
import type { DrainDeps } from '../stop/drain.ts';
import { isRestarting } from '../systemd/restart-job.io.ts';
import { kumaDpReadiness } from '../child/kuma-dp-readiness.io.ts';
import { usedProxy } from '../identity/used-proxy.pure.ts';
import type { SupervisedDataplane } from '../stop/supervisor.ts';
import type { PreparedDataplane } from './prepare.ts';
import type { RunRequest } from './run-request.ts';

/** How a stop of this run decides who still uses Envoy. */
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

/** What a stop has to know of a dataplane that can be deregistered. */
export function supervisedDataplane(
  { label, owner, keeper, command, identity }: PreparedDataplane,
  run: Pick<SupervisedDataplane, 'incarnation'> & { readonly settleLeftMs: () => number },
): SupervisedDataplane {
  return {
    ...run,
    label,
    lifecycle: owner,
    registration: keeper,
    unregisteredBecause: '',
    readiness: kumaDpReadiness(command.readinessPort),
    proxy: usedProxy(identity),
  };
}
