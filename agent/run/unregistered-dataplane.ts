import { readScriptFile } from '../identity/script-file.io.ts';
import { kumaDpReadiness } from '../child/kuma-dp-readiness.io.ts';
import { DRAIN_TIME_MS, readKumaDpCommand, READINESS_PORT } from '../identity/kuma-dp-command.pure.ts';
import type { SupervisedDataplane } from '../stop/run-facts.ts';
import type { RunRequest } from './run-request.ts';

/** A supervised kuma-dp whose dataplane is unknown: `problem` has the reason. */
export function unregisteredDataplane(
  { argv, env }: Pick<RunRequest, 'argv' | 'env'>,
  problem: string,
): SupervisedDataplane {
  const command = readKumaDpCommand(argv, env, readScriptFile);
  return {
    label: 'unknown',
    lifecycle: 'unknown',
    registration: undefined,
    unregisteredBecause: problem,
    readiness: kumaDpReadiness(command?.readinessPort ?? READINESS_PORT),
    proxy: { kind: 'sidecar', isGuess: true, drainTimeMs: DRAIN_TIME_MS, applicationPorts: [] },
  };
}
