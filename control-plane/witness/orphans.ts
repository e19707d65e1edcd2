import type { Clock } from '../../kernel/clock.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { AttachedAgent } from '../attached-agent.ts';
import type { DueShare, Store } from '../ports.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import type { Lost } from './suspect.pure.ts';
import { SUSPICION_MS } from './suspicion.pure.ts';

export interface OrphansDeps {
  readonly clock: Clock;
  readonly store: Pick<Store, 'nowMs' | 'lostSince' | 'sidelining'>;
  readonly agents: { find(key: DataplaneKey): AttachedAgent | undefined };
  /** This replica's part of the suspects without a replica; `undefined`: none of them. */
  readonly share: () => DueShare | undefined;
}

interface Orphan {
  readonly lost: Lost;
  readonly isOut: boolean;
}

export const ADOPT_MS = 2_000;
/** A replica that saw the loss looks after it, as long as it lives. */
const ORPHAN_MS = 5_000;
/** An agent whose replica is gone attaches elsewhere meanwhile. */
const UNSEEN_MS = 10_000;

/** Losses of a lost replica, and losses while no replica ran. */
export class Orphans {
  readonly #deps: OrphansDeps;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(deps: OrphansDeps) {
    this.#deps = deps;
  }

  /** The losses that this replica takes over. */
  async due(isKnown: (key: DataplaneKey) => boolean): Promise<readonly Orphan[]> {
    const { clock, store, agents, share } = this.#deps;
    const mine = share();
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lookedMs < ADOPT_MS || mine === undefined) return [];
    this.#lookedMs = nowMs;
    const storeMs = await store.nowMs();
    const orphans: Orphan[] = [];
    for (const record of await store.lostSince(storeMs - SUSPICION_MS)) {
      const { key, epoch, lostAtMs = storeMs, unseen } = record;
      const ageMs = storeMs - lostAtMs;
      const isDue = epoch % mine.of === mine.share && ageMs >= (unseen === true ? UNSEEN_MS : ORPHAN_MS);
      if (!isDue || isKnown(key) || agents.find(key) !== undefined) continue;
      const isOut = (await store.sidelining(key)) !== undefined;
      orphans.push({ lost: lostOf(record, { lostAtMs, lostMs: nowMs - ageMs }), isOut });
    }
    return orphans;
  }
}

function lostOf(
  { key, epoch, incarnation, address, peer }: DataplaneRecord,
  times: Pick<Lost, 'lostAtMs' | 'lostMs'>,
): Lost {
  return { key, epoch, incarnation, address, peer, cause: 'replica-gone', hasNoRecord: false, ...times };
}
