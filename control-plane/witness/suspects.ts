import { pause } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import type { AttachedAgent } from '../attached-agent.ts';
import type { DeregistrarEvents } from '../events.ts';
import { findLife } from '../evidence/guards.pure.ts';
import { readinessByService } from '../evidence/services.pure.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import type { Store, StreamCounts } from '../ports.ts';
import { crashPoint } from '../departures/crash-points.ts';
import type { LossCause } from './loss.pure.ts';
import { RATES, Rates } from './rates.pure.ts';
import { addressesOf, type Rounds } from './rounds.ts';
import { addressOf, Scenes, type ScenesDeps, type WitnessScene } from './scene.ts';
import { ADOPT_MS, Orphans, type OrphansDeps } from './orphans.ts';
import { chooseSidelinings, type Lost, type Suspect, type Unreached } from './suspect.pure.ts';
import { wasNotCarriedOut } from './sidelining.pure.ts';
import type { Sidelinings } from './sidelinings.ts';
import {
  isReached,
  isRestorable,
  judgeSuspicion,
  lossesAround,
  ROUND_MS,
  SUSPICION_MS,
  type SuspectStep,
} from './suspicion.pure.ts';

export interface SuspectsDeps extends OrphansDeps, ScenesDeps {
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly watch: ZoneWatch;
  readonly agents: OrphansDeps['agents'] & ScenesDeps['agents'];
  readonly rounds: Rounds;
  readonly sidelinings: Sidelinings;
}

/** A list of all dataplanes that old still says where they are. */
const FLEET_AGE_MS = 16_000;
const READY_AGE_MS = 100;
const TICK_MS = 50;
/** With more suspects than a few, testimonies are collected for so long before all are judged again. */
const TOGETHER_MS = 100;
const FEW = 8;
const LOSSES_MS = 30_000;
const STREAMS_AGE_MS = 200;
const OUT_ASK_MS = 2_000;
const OUT_ASK_LATER_MS = 30_000;
const LONGEST_HOLD_MS = 30_000;

/** Dataplanes that lost their agent's stream: asks their peers, and has those sidelined that no peer reaches. */
export class Suspects {
  readonly #deps: SuspectsDeps;
  readonly #suspects = new Map<string, Suspect>();
  readonly #zone = new Rates(RATES.zoneSuspects);
  #nudged = Promise.withResolvers<void>();
  readonly #orphans: Orphans;
  readonly #scenes: Scenes;
  #streams: { readonly atMs: number; readonly counts: StreamCounts } | undefined;

  constructor(deps: SuspectsDeps) {
    this.#deps = deps;
    this.#orphans = new Orphans(deps);
    this.#scenes = new Scenes(deps);
  }

  get all(): readonly Suspect[] {
    return [...this.#suspects.values()];
  }

  /** The stream of `agent` was lost without a word, and that was written down if the store could be reached. */
  async lost(agent: AttachedAgent, cause: LossCause): Promise<void> {
    const { clock, store, agents } = this.#deps;
    const { introduction, epoch } = agent;
    if (epoch === undefined) return;
    const lostMs = clock.monotonicMs();
    const record = await store.find(introduction.key);
    const isOurs = record?.epoch === epoch && record.state === 'lost';
    if ((record !== undefined && !isOurs) || agents.find(introduction.key) !== undefined) return;
    const { key, incarnation, address } = introduction;
    this.#add({
      key,
      incarnation,
      address,
      epoch,
      cause,
      lostMs,
      peer: addressOf(agent),
      lostAtMs: record?.lostAtMs ?? (await store.nowMs()),
      hasNoRecord: record === undefined,
    });
  }

  /** An agent of this name is attached. */
  returned(key: DataplaneKey): void {
    this.#suspects.delete(describeKey(key));
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, events } = this.#deps;
    while (!signal.aborted) {
      this.#nudged = Promise.withResolvers();
      const waitMs = await this.#tick().catch((error: unknown) => {
        if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
        return ADOPT_MS;
      });
      await Promise.race([this.#nudged.promise, pause(clock, Math.max(TICK_MS, waitMs), signal)]);
      if (this.#suspects.size > FEW) await pause(clock, TOGETHER_MS, signal);
    }
  }

  #add(lost: Lost, standing: Suspect['standing'] = 'asked'): void {
    const fresh = { standing, isOut: false, holdUntilMs: 0, holds: 0, said: '', rounds: [], places: [] };
    this.#suspects.set(describeKey(lost.key), { ...lost, ...fresh });
    this.#deps.events.suspected(lost, lost.cause);
    this.#nudged.resolve();
  }

  /** @returns after how many ms to look again */
  async #tick(): Promise<number> {
    const { clock, watch } = this.#deps;
    for (const { lost, isOut } of await this.#orphans.due((key) => this.#suspects.has(describeKey(key))))
      this.#add(lost, isOut ? 'sidelined' : 'asked');
    if (this.#suspects.size === 0) return ADOPT_MS;
    const [{ overviews }, streams] = await Promise.all([
      watch.fleet.fresh(FLEET_AGE_MS),
      this.#countStreams(),
    ]);
    const scene = this.#scenes.of(overviews, (name) => this.#suspects.has(name));
    const candidates: Unreached[] = [];
    let nextMs = ADOPT_MS;
    const longestUnaskedFirst = this.all.toSorted((a, b) => lastAskedMs(a) - lastAskedMs(b));
    for (const suspect of longestUnaskedFirst) {
      const dueMs = this.#step(suspect, { scene, streams, candidates });
      nextMs = Math.min(nextMs, dueMs - clock.monotonicMs());
    }
    if (candidates.length > 0) await this.#sideline(candidates);
    return nextMs;
  }

  /** @returns when to look at it again, monotonic */
  #step(
    suspect: Suspect,
    given: { readonly scene: WitnessScene; readonly streams: StreamCounts; readonly candidates: Unreached[] },
  ): number {
    const { scene, streams, candidates } = given;
    const nowMs = this.#deps.clock.monotonicMs();
    const overview = scene.overviewOf(describeKey(suspect.key));
    if (suspect.holdUntilMs > nowMs) return suspect.holdUntilMs;
    if (suspect.standing === 'sidelined') return this.#stepOut(suspect, scene, overview);
    // An object that is not there, or not yet in the list, has nothing to look at.
    if (overview === undefined) return this.#hold(suspect, 'the control plane does not list its object');
    const step = this.#judge(suspect, { scene, streams, overview });
    this.#say(suspect, step);
    switch (step.step) {
      case 'give up':
        this.#forget(suspect);
        return nowMs + ADOPT_MS;
      case 'sideline':
        candidates.push({ suspect, overview, reason: step.reason });
        return nowMs + ROUND_MS;
      case 'wait':
        return step.untilMs;
      case 'ask':
      case 'keep':
        return step.atMs > nowMs ? step.atMs : this.#ask(suspect, scene, overview);
    }
  }

  #judge(
    suspect: Suspect,
    given: {
      readonly scene: WitnessScene;
      readonly streams: StreamCounts;
      readonly overview: DataplaneOverview;
    },
  ): SuspectStep {
    const { clock } = this.#deps;
    const { scene, streams, overview } = given;
    const { cause, lostMs } = suspect;
    return judgeSuspicion({
      cause,
      lostMs,
      nowMs: clock.monotonicMs(),
      rounds: suspect.rounds,
      hasOtherAgents:
        (this.#deps.share()?.of ?? 2) > 1 ||
        this.#hasCompany(suspect) ||
        scene.hasOthers(suspect.key.mesh, addressesOf(suspect, scene, overview)),
      companionReachedIt: suspect.rounds.some((round) => round.companionReachedIt),
      services: [...readinessByService(overview).keys()],
      losses: lossesAround(suspect.lostAtMs, streams),
    });
  }

  /** Whether another one of its mesh is lost as well: then the companion alone is no judge of either. */
  #hasCompany({ key }: Suspect): boolean {
    return this.#suspects.values().some((each) => each.key.mesh === key.mesh && each.key.name !== key.name);
  }

  #ask(suspect: Suspect, scene: WitnessScene, overview: DataplaneOverview): number {
    const { clock, rounds } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (!this.#zone.take('', rounds.looksInRound, nowMs)) return nowMs + TICK_MS;
    const round = rounds.begin(suspect, {
      scene,
      overview,
      onChange: () => {
        this.#nudged.resolve();
      },
    });
    if (round === undefined) return this.#hold(suspect, 'asked too often, or it has no port to connect to');
    suspect.rounds = [...suspect.rounds.slice(-MOST_ROUNDS), round];
    this.#aside(this.#forgetIfBack(suspect));
    return nowMs + ROUND_MS;
  }

  /** A sidelined one is asked about every 2 s for 30 s, and until it is out; then every 30 s. */
  #stepOut(suspect: Suspect, scene: WitnessScene, overview: DataplaneOverview | undefined): number {
    const nowMs = this.#deps.clock.monotonicMs();
    if (overview === undefined || nowMs - suspect.lostMs >= SUSPICION_MS) {
      this.#forget(suspect);
      return nowMs + ADOPT_MS;
    }
    if (isRestorable(suspect.rounds)) {
      suspect.rounds = [];
      this.#aside(this.#restoreIfOnline(suspect));
    }
    const everyMs = suspect.isOut && nowMs - suspect.lostMs >= LOSSES_MS ? OUT_ASK_LATER_MS : OUT_ASK_MS;
    const dueMs = (suspect.rounds.at(-1)?.startedMs ?? nowMs - everyMs) + everyMs;
    if (dueMs > nowMs) return dueMs;
    this.#aside(this.#lookWhetherOut(suspect));
    return this.#ask(suspect, scene, overview);
  }

  /** An agent of the name may be attached at another replica, or the dataplane has departed. */
  async #forgetIfBack(suspect: Suspect): Promise<void> {
    const { key, epoch, lostAtMs, hasNoRecord } = suspect;
    const record = await this.#deps.store.find(key);
    const isSuspect =
      record === undefined
        ? hasNoRecord || suspect.standing === 'sidelined'
        : record.epoch === epoch && record.state === 'lost' && record.lostAtMs === lostAtMs;
    if (!isSuspect) this.#forget(suspect);
  }

  /** Another replica may have put it back, or it was decided too late to be carried out. */
  async #lookWhetherOut(suspect: Suspect): Promise<void> {
    const sidelining = await this.#deps.store.sidelining(suspect.key);
    suspect.isOut = sidelining?.stage === 'out';
    if (wasNotCarriedOut(sidelining)) Object.assign(suspect, { standing: 'asked', rounds: [] });
  }

  /** Another host may have its address by now: only a stream at its control plane says that it is back. */
  async #restoreIfOnline(suspect: Suspect): Promise<void> {
    const { watch, sidelinings, rounds } = this.#deps;
    const overview = await rounds.overviewOf(suspect.key);
    const life = overview === undefined ? undefined : findLife(overview.subscriptions, watch.surroundings);
    if (life?.certain !== true) return;
    await sidelinings.restore(suspect.key);
    this.#forget(suspect);
  }

  #forget(suspect: Suspect): void {
    const name = describeKey(suspect.key);
    if (this.#suspects.get(name) === suspect) this.#suspects.delete(name);
  }

  /** A failure is retried in the next round. */
  #aside(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
    });
  }

  /** Whether one is the last ready one of its service is judged by who is there now. */
  async #sideline(candidates: readonly Unreached[]): Promise<void> {
    const { store, sidelinings, watch } = this.#deps;
    const { overviews } = await watch.fleet.fresh(READY_AGE_MS);
    let refused: ReadonlyMap<string, string> = new Map();
    const reserved = await store.reserveSidelinings((known, nowMs) => {
      const choice = chooseSidelinings(candidates, {
        known,
        overviews,
        isDoubted: (name) => this.isDoubted(name),
        nowMs,
      });
      ({ refused } = choice);
      return choice.reserved;
    });
    crashPoint('sideline.reserved');
    for (const { key } of reserved) {
      const suspect = this.#suspects.get(describeKey(key));
      if (suspect !== undefined) Object.assign(suspect, { standing: 'sidelined', rounds: [] });
    }
    for (const [name, reason] of refused) {
      const suspect = this.#suspects.get(name);
      if (suspect !== undefined) this.#hold(suspect, reason);
    }
    sidelinings.nudge();
  }

  /** Whether it has lost its agent, and no peer has reached it since. */
  isDoubted(name: string): boolean {
    return this.#suspects.get(name)?.rounds.some(isReached) === false;
  }

  /** Evidence of now is none of later: it is asked about again. */
  #hold(suspect: Suspect, reason: string): number {
    suspect.holds += 1;
    suspect.rounds = [];
    suspect.holdUntilMs =
      this.#deps.clock.monotonicMs() + Math.min(LONGEST_HOLD_MS, ROUND_MS * 2 ** Math.min(suspect.holds, 10));
    if (suspect.said !== reason) this.#deps.events.suspectHeld(suspect, reason);
    suspect.said = reason;
    return suspect.holdUntilMs;
  }

  #say(suspect: Suspect, { step, reason }: SuspectStep): void {
    if ((step !== 'keep' && step !== 'give up') || suspect.said === reason) return;
    suspect.said = reason;
    this.#deps.events.suspectHeld(suspect, reason);
  }

  async #countStreams(): Promise<StreamCounts> {
    const { clock, store } = this.#deps;
    const atMs = clock.monotonicMs();
    if (this.#streams !== undefined && atMs - this.#streams.atMs < STREAMS_AGE_MS)
      return this.#streams.counts;
    const { attached, lostAtMs } = await store.streamCounts((await store.nowMs()) - SUSPICION_MS);
    const unrecorded = this.all.filter(({ hasNoRecord }) => hasNoRecord).map((each) => each.lostAtMs);
    const counts = { attached, lostAtMs: [...lostAtMs, ...unrecorded].toSorted((a, b) => a - b) };
    this.#streams = { atMs, counts };
    return counts;
  }
}

const MOST_ROUNDS = 32;

function lastAskedMs({ rounds }: Suspect): number {
  return rounds.at(-1)?.startedMs ?? 0;
}
