import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { readinessByService } from '../evidence/services.pure.ts';
import type { SideliningRecord } from '../records.pure.ts';
import type { LossCause } from './loss.pure.ts';
import type { Place } from './targets.pure.ts';
import type { Round, Testimony } from './suspicion.pure.ts';
import { admitSidelinings, pastOf, type LimitsView } from './sidelining-limits.pure.ts';

/** A dataplane whose agent's stream was lost, as this process suspects it. Times are monotonic where nothing else is said. */
export interface Lost {
  readonly key: DataplaneKey;
  readonly epoch: number;
  readonly incarnation: string;
  readonly address: string | undefined;
  readonly peer: string | undefined;
  readonly cause: LossCause;
  readonly lostMs: number;
  /** By the store's clock. */
  readonly lostAtMs: number;
  readonly hasNoRecord: boolean;
}

/** An open round: it changes until it is closed. */
export interface OpenRound extends Round {
  readonly testimonies: Testimony[];
  isClosed: boolean;
  settledMs: number | undefined;
  isOffline: boolean | undefined;
  /** Whether this process has reached the suspect before. */
  companionReachedIt: boolean;
}

/** One lost dataplane, and the progress of its rounds. */
export interface Suspect extends Lost {
  rounds: OpenRound[];
  /** Where peers connected when it was lost. */
  places: readonly Place[];
  standing: 'asked' | 'sidelined';
  /** Whether its sidelining was carried out, as the store had it last. */
  isOut: boolean;
  /** No question is asked before this time. */
  holdUntilMs: number;
  holds: number;
  said: string;
}

/** A suspect that no peer reaches. */
export interface Unreached {
  readonly suspect: Lost;
  readonly overview: DataplaneOverview;
  /** The testimony of each witness. */
  readonly reason: string;
}

export interface Choice {
  readonly reserved: readonly SideliningRecord[];
  /** The reasons against it, by name. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Decides about all unreached suspects at once. */
export function chooseSidelinings(
  candidates: readonly Unreached[],
  {
    known,
    ...view
  }: Pick<LimitsView, 'overviews' | 'isDoubted' | 'nowMs'> & { readonly known: readonly SideliningRecord[] },
): Choice {
  const before = new Map(known.map((each) => [describeKey(each.key), each]));
  const refused = new Map<string, string>();
  const open = candidates.filter(({ suspect }) => {
    const name = describeKey(suspect.key);
    const reason = refusalBy(before.get(name), suspect);
    if (reason !== undefined) refused.set(name, reason);
    return reason === undefined;
  });
  const wanted = open.map((each) => ({ key: each.suspect.key, services: servicesOf(each) }));
  const admissions = admitSidelinings(wanted, { ...view, past: pastOf(known) });
  const reserved: SideliningRecord[] = [];
  for (const candidate of open) {
    const name = describeKey(candidate.suspect.key);
    const admission = admissions.get(name);
    if (admission?.admitted === true) reserved.push(recordOf(candidate, view.nowMs));
    else refused.set(name, admission?.reason ?? '');
  }
  return { reserved, refused };
}

function servicesOf({ overview }: Unreached): readonly string[] {
  return [...readinessByService(overview).keys()];
}

function recordOf(candidate: Unreached, nowMs: number): SideliningRecord {
  const { suspect, reason } = candidate;
  const { key, epoch, lostAtMs, incarnation, address, hasNoRecord } = suspect;
  return {
    key,
    epoch,
    lostAtMs,
    incarnation,
    address,
    hasNoRecord,
    reason,
    services: servicesOf(candidate),
    stage: 'outstanding',
    beganAtMs: nowMs,
    dueAtMs: nowMs,
  };
}

/** One effective sidelining for each loss, and one at a time for a name. */
function refusalBy(before: SideliningRecord | undefined, { epoch, lostAtMs }: Lost): string | undefined {
  if (before === undefined) return undefined;
  if (before.stage !== 'released') return 'an earlier sidelining of it is not over';
  const isSameLoss = before.epoch === epoch && before.lostAtMs === lostAtMs;
  return isSameLoss && before.isEffective === true ? 'it was sidelined for this loss before' : undefined;
}
