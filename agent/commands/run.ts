import { readScriptFile } from '../identity/script-file.io.ts';
import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { isCompanion } from '../object/endpoint-url.pure.ts';
import {
  readKumaDpCommand,
  readsStandardInput,
  type KumaDpCommand,
} from '../identity/kuma-dp-command.pure.ts';
import { childSpawner } from '../child/child-process.io.ts';
import { becomeKumaDp } from '../child/in-place.io.ts';
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
  if (spawned !== undefined && 'problem' in spawned) return cannotStart(spawned, request);
  const parts = await load(request).catch((error: unknown) => ({ missing: describeError(error) }));
  if ('missing' in parts) {
    writeError(`Cannot load the agent: ${parts.missing}. kuma-dp runs, but a stop will not deregister it`);
    return runAlone(spawned ?? spawner.spawn({ argv, env, stdin, descriptors }), request);
  }
  const { supervise, returnUnusedMemory, log, metrics } = parts;
  const disarm = systemClock.after(STARTED_AFTER_MS, returnUnusedMemory);
  return supervise({ ...request, ...metrics, log, beganAtMs, spawner, stdin, spawned }).finally(disarm);
}

/** @throws if files of the agent are missing, as in the middle of an upgrade, or cannot be opened */
async function load({ options, env }: RunRequest) {
  const [{ supervise }, { returnUnusedMemory }, log, metrics] = await Promise.all([
    import('../run/supervise.ts'),
    import('../metrics/memory.io.ts'),
    import('./agent-log.ts').then(({ agentLog }) => agentLog(options, env)),
    options.metrics === 'off' ? undefined : import('../metrics/run-metrics.io.ts'),
  ]);
  return { supervise, returnUnusedMemory, log, metrics };
}

/** Passes signals on and ends as kuma-dp does: what is left of the agent without its other files. */
function runAlone(spawned: Spawned, request: RunRequest): ChildExit | Promise<ChildExit> {
  if ('problem' in spawned) return cannotStart(spawned, request);
  request.signals.onSignal((signal) => {
    spawned.child.signal(signal);
  });
  return spawned.exited;
}

/** Prints one line and uses the shell's exit codes. */
function cannotStart(
  { problem, exitCode, noProcess }: Extract<Spawned, { readonly problem: string }>,
  request: RunRequest,
): ChildExit {
  writeError(problem);
  if (noProcess === true) becomeKumaDp(request);
  return { code: exitCode, signal: null };
}

/** Whether kuma-dp may have to wait: until it is registered, has its epoch, is paced, or is refused. */
function mustPrepare(options: RunOptions, command: KumaDpCommand | undefined): boolean {
  if (command?.proxyType === 'dataplane' && options.endpoints.some(isCompanion)) return true;
  if (options.lifecycle === 'agent' || options.requireIdentity) return true;
  return options.restartPacing === 'auto' && (listStateFiles(options.stateDir) ?? []).length > 0;
}
