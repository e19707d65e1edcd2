import type { Clock } from '../../kernel/clock.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { keyOf } from '../../kuma/overview.ts';
import { isSidelined, lossOf, type LossNumber } from '../../kuma/sidelined.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import { periodically } from '../periodically.ts';
import type { Alone, Store } from '../ports.ts';
import type { SideliningRecord } from '../records.pure.ts';

export interface StrayMarksDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Pick<Store, 'whileAlone'>;
  readonly watch: Pick<ZoneWatch, 'fleet'>;
  readonly agents: Pick<AttachedAgents, 'size' | 'find'>;
  /** Called when a sidelining is due. */
  readonly nudge: () => void;
}

const LOOK_MS = 5_000;
const FLEET_AGE_MS = 16_000;

/**
 * Objects with the mark of a sidelining that the store does not know, whose agent is attached here and serves: the
 * store was lost or went back in time, or a late write landed. The mark says which states to restore.
 */
export class StrayMarks {
  readonly #deps: StrayMarksDeps;

  constructor(deps: StrayMarksDeps) {
    this.#deps = deps;
  }

  run(signal: AbortSignal): Promise<void> {
    return periodically(this.#deps, () => this.#look(), { everyMs: LOOK_MS, signal });
  }

  async #look(): Promise<void> {
    const { agents, watch, store, nudge } = this.#deps;
    if (agents.size === 0) return;
    const { overviews } = await watch.fleet.paced(FLEET_AGE_MS);
    for (const overview of overviews) {
      const { resource } = overview;
      if (!isSidelined(resource)) continue;
      const key = keyOf(overview);
      const { serving = false, leaving = false } = agents.find(key) ?? {};
      if (!serving || leaving) continue;
      const loss = lossOf(resource);
      if (await store.whileAlone(key, (alone) => Promise.resolve(adopted(key, loss, alone)))) nudge();
    }
  }
}

function adopted(
  key: DataplaneKey,
  loss: LossNumber,
  { sidelining, fence: { nowMs } }: Alone,
): { readonly value: boolean; readonly sidelining?: SideliningRecord } {
  if (sidelining !== undefined && sidelining.stage !== 'released') return { value: false };
  const found: SideliningRecord = {
    key,
    ...loss,
    incarnation: '',
    address: undefined,
    hasNoRecord: true,
    services: [],
    reason: `the store has no record of the mark on ${describeKey(key)}`,
    stage: 'restoring',
    beganAtMs: nowMs,
    dueAtMs: nowMs,
    isEffective: true,
    isMarked: true,
  };
  return { value: true, sidelining: found };
}
