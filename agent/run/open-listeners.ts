import { whenAborted } from '../../kernel/aborted.ts';
import { openControlSocket } from '../control/control-socket.io.ts';
import { openControl, type ControlDeps } from '../control/control.ts';
import type { RunView } from '../metrics/run-view.pure.ts';
import type { RunMetrics } from '../metrics/run-metrics.io.ts';
import type { PreparedDataplane } from './prepare.ts';

export interface AgentListenerParts extends Pick<
  ControlDeps,
  'clock' | 'events' | 'incarnation' | 'beganAtMs' | 'rotation' | 'phase' | 'hold' | 'kumaDpPid'
> {
  /** `undefined`: the dataplane is unknown, so there is nothing to control. */
  readonly prepared: PreparedDataplane | undefined;
  /** `undefined` where `--metrics` is off. */
  readonly metrics: RunMetrics | undefined;
  readonly stopBudgetMs: number;
  /** Aborts when a stop begins: nothing is opened after that. */
  readonly stopping: AbortSignal;
}

/** Opens the listeners of a running agent: control socket and metrics, until `closed` aborts. */
export async function openFaces(parts: AgentListenerParts, closed: AbortSignal): Promise<void> {
  const { prepared, metrics, stopping } = parts;
  const keep = (listener: { close(): void } | undefined): void => {
    if (listener !== undefined) whenAborted(closed, () => listener.close());
  };
  if (prepared !== undefined) keep(await openControl(controlOf(parts, prepared)));
  if (!stopping.aborted) keep(await metrics?.open(() => viewOf(parts)));
}

function controlOf(parts: AgentListenerParts, prepared: PreparedDataplane): ControlDeps {
  const { stateFile, label, owner, endpoints, attachment } = prepared;
  return {
    ...parts,
    openSocket: openControlSocket,
    stateFile: stateFile.path,
    label,
    lifecycle: owner,
    endpoints,
    attachment,
  };
}

function viewOf({ prepared, rotation, phase, stopBudgetMs }: AgentListenerParts): RunView {
  if (prepared === undefined) return { phase: phase(), stopBudgetMs, dataplane: undefined };
  const { identity, owner, endpoints, attachment, witness } = prepared;
  return {
    phase: phase(),
    stopBudgetMs,
    dataplane: {
      key: identity.key,
      owner,
      settleMs: endpoints.settleMs,
      endpoints: endpoints.looks,
      companion: attachment?.standing,
      rotation: rotation?.stage ?? 'in',
      looks: witness?.counts,
    },
  };
}
