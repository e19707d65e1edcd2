import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Owner } from '../identity/owner.pure.ts';
import type { Phase } from '../stop/phases.pure.ts';
import type { RotationStage } from '../object/rotation-record.pure.ts';
import type { LookCounts } from '../witness/look-counts.pure.ts';
import type { Counters } from './counters.pure.ts';

/** The state of a run, for metrics and status. */
export interface RunView {
  readonly phase: Phase;
  readonly stopBudgetMs: number;
  /** `undefined`: it is unknown, and a stop will not deregister it. */
  readonly dataplane: DataplaneView | undefined;
}

export interface DataplaneView {
  readonly key: DataplaneKey;
  readonly owner: Owner;
  readonly settleMs: number;
  /** Without credentials; `undefined` before the first look. */
  readonly endpoints: readonly { readonly url: string; readonly reachable: boolean | undefined }[];
  /** `undefined` where none is configured. */
  readonly companion: { readonly attached: boolean; readonly epoch: number | undefined } | undefined;
  readonly rotation: RotationStage;
  /** `undefined` where this agent does not look at others. */
  readonly looks: LookCounts | undefined;
}

export interface CountedRun extends RunView {
  readonly counters: Counters;
}

/** Whether peers see it; `standby`: out for good since SIGUSR2. */
export function standingOf({ phase, dataplane }: RunView): RotationStage | 'standby' {
  if (phase.name === 'running' && phase.standby !== 'no') return 'standby';
  return dataplane?.rotation ?? 'in';
}
