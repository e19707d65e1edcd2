import { readScriptFile } from '../identity/script-file.io.ts';
import { systemClock } from '../../kernel/clock.ts';
import { isCompanion } from '../object/endpoint-url.pure.ts';
import {
  readKumaDpCommand,
  readsStandardInput,
  type KumaDpCommand,
} from '../identity/kuma-dp-command.pure.ts';
import { childSpawner } from '../child/child-process.io.ts';
import { readStandardInput, writeError } from '../child/standard-streams.io.ts';
import { listStateFiles } from '../state/state-directory.io.ts';
import type { ChildExit } from '../child/exit-status.pure.ts';
import type { RunOptions } from '../options.ts';
import type { Spawned } from '../ports.ts';
import type { RunRequest } from '../run/run-request.ts';

/** By this time the agent has usually asked the control plane and found Envoy. */
const STARTED_AFTER_MS = 1_500;

/**
 * Starts kuma-dp first and loads everything else while it starts: reading its template, asking its control plane and
 * loading packages take longer than starting a process. Only what must happen before its start comes first.
 */
export async function run(request: RunRequest): Promise<ChildExit> {
  const beganAtMs = systemClock.monotonicMs();
  const { options, argv, env, descriptors } = request;
  const spawner = childSpawner(env['PATH'] ?? '', request.inherited);
  const command = readKumaDpCommand(argv, env, readScriptFile);
  const stdin = readsStandardInput(command) ? readStandardInput() : undefined;
  const spawned = mustPrepare(options, command)
    ? undefined
    : spawner.spawn({ argv, env, stdin, descriptors });
  if (spawned !== undefined && 'problem' in spawned) return cannotStart(spawned);
  const [{ supervise }, { returnUnusedMemory }, log, metrics] = await Promise.all([
    import('../run/supervise.ts'),
    import('../metrics/memory.io.ts'),
    import('./agent-log.ts').then(({ agentLog }) => agentLog(options, env)),
    options.metrics === 'off' ? undefined : import('../metrics/run-metrics.io.ts'),
  ]);
  const disarm = systemClock.after(STARTED_AFTER_MS, returnUnusedMemory);
  return supervise({ ...request, ...metrics, log, beganAtMs, spawner, stdin, spawned }).finally(disarm);
}

/** Prints one line and uses the shell's exit codes. */
function cannotStart(spawned: Extract<Spawned, { readonly problem: string }>): ChildExit {
  writeError(spawned.problem);
  return { code: spawned.exitCode, signal: null };
}

/** Whether kuma-dp may have to wait: until it is registered, has its epoch, is paced, or is refused. */
function mustPrepare(options: RunOptions, command: KumaDpCommand | undefined): boolean {
  if (command?.proxyType === 'dataplane' && options.endpoints.some(isCompanion)) return true;
  if (options.lifecycle === 'agent' || options.requireIdentity) return true;
  return options.restartPacing === 'auto' && (listStateFiles(options.stateDir) ?? []).length > 0;
}
