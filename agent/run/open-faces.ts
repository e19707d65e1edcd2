import { openControlSocket } from '../control/control-socket.io.ts';
import { openControl, type ControlDeps } from '../control/control.ts';
import type { RunView } from '../metrics/run-view.pure.ts';
import type { RunMetrics } from '../metrics/run-metrics.io.ts';
import type { PreparedDataplane } from './prepare.ts';

export interface FaceParts extends Pick<
  ControlDeps,
  'clock' | 'events' | 'incarnation' | 'beganAtMs' | 'rotation' | 'phase' | 'hold' | 'kumaDpPid'
> {
  /** `undefined`: it is not known which dataplane this is, and there is nothing to control. */
  readonly prepared: PreparedDataplane | undefined;
  /** `undefined` where `--metrics` is off. */
  readonly metrics: RunMetrics | undefined;
  readonly stopBudgetMs: number;
  /** Aborts when a stop begins: from then on nothing is opened. */
  readonly stopping: AbortSignal;
}

/** What a running agent can be asked by others on this host. Closed, it closes what opens late as well. */
export class Faces {
  readonly #open: { close(): void }[] = [];
  #closed = false;

  async open(parts: FaceParts): Promise<void> {
    const { prepared, metrics, stopping } = parts;
    if (prepared !== undefined) this.#keep(await openControl(controlOf(parts, prepared)));
    if (!stopping.aborted) this.#keep(await metrics?.open(() => viewOf(parts)));
  }

  close(): void {
    this.#closed = true;
    for (const face of this.#open) face.close();
  }

  #keep(face: { close(): void } | undefined): void {
    if (face === undefined) return;
    if (this.#closed) face.close();
    else this.#open.push(face);
  }
}

function controlOf(parts: FaceParts, prepared: PreparedDataplane): ControlDeps {
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

function viewOf({ prepared, rotation, phase, stopBudgetMs }: FaceParts): RunView {
  if (prepared === undefined) return { phase: phase(), stopBudgetMs, dataplane: undefined };
  const { identity, owner, endpoints, attachment } = prepared;
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
    },
  };
}
