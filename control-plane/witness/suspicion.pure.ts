import type { LookResult } from '../../kernel/tcp-findings.ts';
import type { LossCause } from './loss.pure.ts';

/** A witness's finding at a suspect. */
export type TestimonyFinding = LookResult;

/** One witness's testimony in one round. */
export interface Testimony {
  /** The address of the witness, or {@link OWN}. */
  readonly witness: string;
  readonly finding: TestimonyFinding;
  /** Services of the suspect of which the witness reached a sibling in the same look, as its control. */
  readonly siblings: readonly string[];
}

/** The companion itself. */
export const OWN = 'companion';

/** One question to several witnesses. Times are monotonic, in ms. */
export interface Round {
  readonly startedMs: number;
  /** Every witness has answered, or has had its time. */
  readonly isClosed: boolean;
  readonly testimonies: readonly Testimony[];
  /** When there were two valid testimonies; `undefined` before. */
  readonly settledMs?: number | undefined;
  /** Whether the control plane showed the suspect offline during the round; `undefined` if unknown. */
  readonly isOffline: boolean | undefined;
}

/** The losses around a suspect's, and the attached agents, over all replicas. */
export interface Losses {
  /** Within 30 s of its own loss, itself included. */
  readonly recent: number;
  /** 30 s before its loss, or since. */
  readonly attachedBefore: number;
  readonly attachedNow: number;
}

export interface Suspicion {
  readonly cause: LossCause;
  readonly lostMs: number;
  readonly nowMs: number;
  readonly rounds: readonly Round[];
  /** Whether another agent of the mesh, at another address, looks. */
  readonly hasOtherAgents: boolean;
  /** Whether the companion itself has reached the suspect within the time for which an acquaintance is valid. */
  readonly companionReachedIt: boolean;
  readonly services: readonly string[];
  readonly losses: Losses;
}

/**
 * - `ask`: another round, at `atMs`.
 * - `wait`: for the answers of a round that is open, until `untilMs` at the latest.
 * - `sideline`: no peer reaches it. Whether it may go is judged with all others, by `sidelining-limits.pure.ts`.
 * - `keep`: a witness reaches it, too few can tell, or too many were lost at once; asked again at `atMs`.
 * - `give up`: nothing more comes of it.
 */
export type SuspectStep =
  | { readonly step: 'ask' | 'keep'; readonly atMs: number; readonly reason: string }
  | { readonly step: 'wait'; readonly untilMs: number; readonly reason: string }
  | { readonly step: 'sideline' | 'give up'; readonly reason: string };

/** From start to start of two rounds. */
export const ROUND_MS = 300;
/** How long a round may take: two connects, the control before and after them, and the way. */
export const ROUND_BUDGET_MS = 2_500;
/** How long two agreeing testimonies wait for the third. */
const THIRD_WITNESS_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** After this time a suspect is no longer asked about. */
export const SUSPICION_MS = 600_000;
const FEW_LOSSES = 2;
const CROWD_MS = 30_000;

/** Rules 4 to 6 of a lost host: what to do about one suspect now. When in doubt, keep. */
export function judgeSuspicion(given: Suspicion): SuspectStep {
  const { cause, lostMs, nowMs, rounds } = given;
  if (nowMs - lostMs >= SUSPICION_MS) return { step: 'give up', reason: 'suspected for ten minutes' };
  if (cause === 'pinged-out')
    return {
      step: 'give up',
      reason:
        'its process is frozen, but its kernel may still answer: the fallback deletion decides after the grace',
    };
  const lastReached = rounds.findLastIndex(isReached);
  const since = rounds.slice(lastReached + 1);
  if (since.length === 0) return askAfterReached(given, lastReached);
  const counted = since.filter((round) => isOver(round, nowMs) && isValid(round, given));
  const need = needOf(given, counted);
  if (need.isMet) return judgeCrowd(given, counted);
  return askOn(given, since, { counted: counted.length, ...need });
}

export function isReached({ testimonies }: Round): boolean {
  return testimonies.some(({ finding }) => finding === 'reached');
}

/** The first round, or the next one about a suspect that was reached: after 0.3 s, doubling to 30 s. */
function askAfterReached({ lostMs, rounds }: Suspicion, lastReached: number): SuspectStep {
  const last = rounds[lastReached];
  if (last === undefined) return { step: 'ask', atMs: lostMs, reason: 'its stream was lost' };
  const times = rounds.filter(isReached).length;
  const by = last.testimonies.find(({ finding }) => finding === 'reached')?.witness ?? '';
  return { step: 'keep', atMs: last.startedMs + backoffMs(times), reason: `${by} reaches it` };
}

function backoffMs(times: number): number {
  return Math.min(LONGEST_PAUSE_MS, ROUND_MS * 2 ** Math.min(times - 1, 10));
}

/** A round is over when all have answered, or two agree and the third has had its moment. */
function isOver({ isClosed, settledMs }: Round, nowMs: number): boolean {
  return isClosed || (settledMs !== undefined && nowMs - settledMs >= THIRD_WITNESS_MS);
}

/**
 * Two testimonies, one of them an agent's; where no other agent looks, the companion's own. The companion accuses only
 * what it has reached before, and then nothing is accused without it.
 */
function isValid({ testimonies }: Round, { hasOtherAgents, companionReachedIt }: Suspicion): boolean {
  const agents = testimonies.filter((each) => isAccusing(each) && each.witness !== OWN).length;
  const own = testimonies.some((each) => isAccusing(each) && each.witness === OWN);
  if (companionReachedIt && !own) return false;
  if (!hasOtherAgents) return companionReachedIt;
  return agents >= 1 && agents + (companionReachedIt ? 1 : 0) >= 2;
}

export function isAccusing({ finding }: Testimony): boolean {
  return finding === 'refused' || finding === 'silent';
}

interface Need {
  readonly isMet: boolean;
  readonly rounds: number;
  /** From start to start. */
  readonly pauseMs: number;
  readonly reason: string;
}

/** The number of rounds that must agree that no witness reaches it. */
function needOf({ cause, hasOtherAgents }: Suspicion, counted: readonly Round[]): Need {
  const few = hasOtherAgents ? 2 : 3;
  const latest = counted.slice(-few);
  const isRefused = latest.every(({ testimonies }) =>
    testimonies.filter(isAccusing).every(({ finding }) => finding === 'refused'),
  );
  const met = latest.length >= few;
  if (isRefused || cause === 'dark')
    return { isMet: met, rounds: few, pauseMs: ROUND_MS, reason: 'no witness has reached it so far' };
  const spanMs = cause === 'closed' ? 6_000 : 30_000;
  const rounds = few + 2;
  const [first] = counted;
  const last = counted.at(-1);
  const isLong = first !== undefined && last !== undefined && last.startedMs - first.startedMs >= spanMs;
  const isOffline = counted.slice(-rounds).every((round) => round.isOffline === true);
  return {
    isMet: isLong && isOffline && counted.length >= rounds,
    rounds,
    pauseMs: spanMs / (rounds - 1),
    reason: isOffline
      ? "witnesses get no answer, but its host's kernel was not seen to fall silent"
      : 'witnesses get no answer, but its control plane does not show it offline',
  };
}

/** Rule 6: if many were lost at once, the companion itself may be cut off. */
function judgeCrowd(given: Suspicion, counted: readonly Round[]): SuspectStep {
  const { losses, services, nowMs } = given;
  const clear: SuspectStep = { step: 'sideline', reason: describeAccusation(counted) };
  if (losses.recent <= FEW_LOSSES) return clear;
  const again = { step: 'keep', atMs: nowMs + pauseAfter(given) } as const;
  if (losses.attachedNow * 2 <= losses.attachedBefore)
    return {
      ...again,
      reason: `${losses.recent} were lost within 30 s, and ${losses.attachedNow} of ${losses.attachedBefore} are attached: the companion may be cut off`,
    };
  const isWithout = (service: string): boolean =>
    counted
      .slice(-2)
      .some(({ testimonies }) =>
        testimonies.filter(isAccusing).every(({ siblings }) => !siblings.includes(service)),
      );
  const missing = services.find(isWithout);
  return missing === undefined
    ? clear
    : {
        ...again,
        reason: `${losses.recent} were lost within 30 s, and no witness reached another dataplane of ${missing}`,
      };
}

function askOn(
  given: Suspicion,
  since: readonly Round[],
  need: Need & { readonly counted: number },
): SuspectStep {
  const { nowMs } = given;
  const last = since.at(-1);
  if (last === undefined) throw new TypeError('There is a round since it was reached');
  const open = since.filter((round) => !isOver(round, nowMs));
  // Without enough valid testimonies there is no hurry.
  const isVoid = since.length - open.length > need.counted;
  const pauseMs = isVoid ? Math.max(need.pauseMs, pauseAfter(given)) : need.pauseMs;
  if (need.counted + open.length < need.rounds || open.length === 0)
    return isVoid
      ? { step: 'keep', atMs: last.startedMs + pauseMs, reason: VOID }
      : { step: 'ask', atMs: last.startedMs + pauseMs, reason: need.reason };
  const untilMs = Math.min(...open.map((round) => overMs(round)));
  return { step: 'wait', untilMs, reason: need.reason };
}

const VOID = 'too few witnesses have an answer';

function overMs({ startedMs, settledMs }: Round): number {
  return settledMs === undefined ? startedMs + ROUND_BUDGET_MS : settledMs + THIRD_WITNESS_MS;
}

function pauseAfter({ rounds }: Suspicion): number {
  return backoffMs(rounds.length);
}

function describeAccusation(counted: readonly Round[]): string {
  const last = counted.at(-1)?.testimonies ?? [];
  return last.map(({ witness, finding }) => `${witness}: ${finding}`).join(', ');
}

/** Rule 9: whether two rounds in a row have reached it. */
export function isRestorable(rounds: readonly Round[]): boolean {
  const latest = rounds.filter(({ isClosed }) => isClosed).slice(-2);
  return latest.length === 2 && latest.every(isReached);
}

/**
 * Around its own loss, not before now: a cut-off companion stays cut off for longer than 30 s.
 *
 * @param lostAtMs by the store's clock
 * @param streams those that have not come back, the earliest loss first
 */
export function lossesAround(
  lostAtMs: number,
  streams: { readonly attached: number; readonly lostAtMs: readonly number[] },
): Losses {
  const before = countBelow(streams.lostAtMs, lostAtMs - CROWD_MS);
  const recent = countBelow(streams.lostAtMs, lostAtMs + CROWD_MS + 1) - before;
  const since = streams.lostAtMs.length - before;
  return { recent, attachedBefore: streams.attached + since, attachedNow: streams.attached };
}

/** How many of `sorted` are below `limit`: by halves, since each of thousands of suspects asks. */
function countBelow(sorted: readonly number[], limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? limit) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
