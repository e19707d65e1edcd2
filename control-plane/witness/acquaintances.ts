import pLimit from 'p-limit';

import type { Clock } from '../../kernel/clock.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { AttachedAgent } from '../attached-agent.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { readinessByService } from '../evidence/services.pure.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import { periodically } from '../periodically.ts';
import type { Store } from '../ports.ts';
import type { Acquaintance } from '../records.pure.ts';
import { drawSome, WITNESSES } from './draw.pure.ts';
import { plainAddress, type Networks } from './networks.pure.ts';
import type { Questions } from './questions.ts';
import { RATES, Rates } from './rates.pure.ts';
import { VALID_MS, type OwnLook } from './rounds.ts';
import { addressOf, WitnessScene, type SceneAgent } from './scene.ts';
import { OWN, ROUND_BUDGET_MS, type TestimonyFinding } from './suspicion.pure.ts';
import { drawControl, placesOf, placeText, type Place } from './targets.pure.ts';

export interface AcquaintanceSearchDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: DeregistrarEvents;
  readonly store: Pick<Store, 'acquaintances' | 'noteAcquaintances' | 'nowMs'>;
  readonly watch: Pick<ZoneWatch, 'fleet'>;
  readonly agents: Iterable<AttachedAgent>;
  readonly questions: Questions;
  readonly look: OwnLook;
  readonly host: string;
  readonly networks: Networks;
  readonly witnessRates: Rates;
}

/** Whether a loss of this dataplane would be noticed at once, and otherwise the reason. */
export interface Watchfulness {
  /** Agents that have reached it, at different addresses and with different tokens. */
  readonly witnesses: number;
  readonly companionReachedIt: boolean;
  /** Empty if three have, or while the search continues. */
  readonly problem: string;
}

interface Search {
  nextMs: number;
  misses: number;
  watchfulness: Watchfulness;
}

/** A dataplane that is searched for. */
interface Searched {
  readonly agent: AttachedAgent;
  readonly overview: DataplaneOverview | undefined;
  readonly targets: readonly Place[];
}

interface Known {
  /** By the store's clock. */
  readonly nowMs: number;
  /** By place. */
  readonly fresh: ReadonlyMap<string, readonly Acquaintance[]>;
}

const TICK_MS = 1_000;
const FLEET_AGE_MS = 16_000;
const SOON_MS = 2_000;
const LATEST_MS = 60_000;
/** Acquaintances are confirmed while they are valid: after two thirds of that time. */
const REFRESH_MS = (VALID_MS * 2) / 3;
/** One acquaintance more than are asked: a lost rack may contain some. */
const WANTED = WITNESSES + 1;
/** The share of one core for the view of the fleet from which witnesses are drawn. */
const SHARE = 0.01;
const MOST_REST_MS = 30_000;
const CONCURRENCY = 32;
/** Dataplanes that are searched for in one tick. */
const MOST = 50;

/** Finds for each attached dataplane three agents that reach it, before that matters, and keeps them fresh. */
export class AcquaintanceSearch {
  readonly #deps: AcquaintanceSearchDeps;
  readonly #zone = new Rates(RATES.zoneAcquaintances);
  readonly #searches = new Map<string, Search>();
  #last: { readonly scene: WitnessScene; readonly restsUntilMs: number } | undefined;

  constructor(deps: AcquaintanceSearchDeps) {
    this.#deps = deps;
  }

  /** `undefined` where nothing is known yet. */
  watchfulness(name: string): Watchfulness | undefined {
    return this.#searches.get(name)?.watchfulness;
  }

  run(signal: AbortSignal): Promise<void> {
    return periodically(this.#deps, () => this.#search(), { everyMs: TICK_MS, signal });
  }

  async #search(): Promise<void> {
    const { clock, agents } = this.#deps;
    const due = this.#due([...agents]);
    if (due.length === 0) return;
    const scene = await this.#sceneFor(due);
    const searched = due.map((agent) => searchedIn(scene, agent));
    const known = await this.#known(searched.flatMap(({ targets }) => targets.map(placeText)));
    const limit = pLimit(CONCURRENCY);
    const reached = await Promise.all(
      searched.map((each) => limit(() => this.#searchFor(each, scene, known))),
    );
    this.#deps.witnessRates.prune(clock.monotonicMs());
    await this.#deps.store.noteAcquaintances(reached.flat());
  }

  /** One read of the store for all that are searched for. */
  async #known(places: readonly string[]): Promise<Known> {
    const { store } = this.#deps;
    const nowMs = await store.nowMs();
    const valid = places.length === 0 ? [] : await store.acquaintances(places, nowMs - VALID_MS);
    const fresh = valid.filter(({ reachedAtMs }) => nowMs - reachedAtMs < REFRESH_MS);
    return { nowMs, fresh: Map.groupBy(fresh, ({ place }) => place) };
  }

  /**
   * Uses a list that knows all of them, if it is available now: an agent that has just attached may be lost at once.
   */
  async #sceneFor(due: readonly AttachedAgent[]): Promise<WitnessScene> {
    const { fleet } = this.#deps.watch;
    const { overviews } = await fleet.paced(FLEET_AGE_MS);
    const scene = this.#sceneOf(overviews);
    if (due.every(({ introduction }) => scene.overviewOf(describeKey(introduction.key)) !== undefined))
      return scene;
    const newer = await fleet.paced(SOON_MS);
    return newer.overviews === overviews ? scene : this.#sceneOf(newer.overviews);
  }

  /**
   * As often as its cost allows, because it reads all objects and all agents. The result of an agent that has left
   * meanwhile does not count.
   */
  #sceneOf(overviews: readonly DataplaneOverview[]): WitnessScene {
    const { clock, agents, networks } = this.#deps;
    const beganMs = clock.monotonicMs();
    const last = this.#last;
    if (last !== undefined && beganMs < last.restsUntilMs) return last.scene;
    const scene = new WitnessScene(overviews, agents, { networks, isSuspect: () => false });
    const endedMs = clock.monotonicMs();
    const restMs = Math.min(MOST_REST_MS, (endedMs - beganMs) / SHARE);
    this.#last = { scene, restsUntilMs: endedMs + restMs };
    return scene;
  }

  #due(agents: readonly AttachedAgent[]): readonly AttachedAgent[] {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#searches.size > agents.length) this.#forgetOthers(agents);
    const due: AttachedAgent[] = [];
    for (const agent of agents) {
      if (due.length >= MOST) break;
      if (!agent.serving || agent.leaving || agent.epoch === undefined) continue;
      if ((this.#searches.get(describeKey(agent.introduction.key))?.nextMs ?? 0) <= nowMs) due.push(agent);
    }
    return due;
  }

  #forgetOthers(agents: readonly AttachedAgent[]): void {
    const names = new Set(agents.map(({ introduction }) => describeKey(introduction.key)));
    for (const name of this.#searches.keys()) if (!names.has(name)) this.#searches.delete(name);
  }

  async #searchFor(
    { agent, overview, targets }: Searched,
    scene: WitnessScene,
    known: Known,
  ): Promise<readonly Acquaintance[]> {
    const name = describeKey(agent.introduction.key);
    const peer = addressOf(agent);
    if (overview === undefined || targets.length === 0) {
      const problem = overview === undefined ? '' : describeNoTargets(placesOf(overview), peer);
      this.#note(name, { witnesses: 0, companionReachedIt: false, problem }, false);
      return [];
    }
    const { nowMs } = known;
    const fresh = targets.flatMap((place) => known.fresh.get(placeText(place)) ?? []);
    const services = [...readinessByService(overview).keys()];
    const besides = new Set([
      ...targets.map(({ address }) => address),
      ...(peer === undefined ? [] : [peer]),
    ]);
    const found = await this.#askAll({ agent, scene, targets, services, besides, fresh, nowMs });
    const all = [...fresh, ...found];
    const witnesses = countDistinct(all.filter(({ subject }) => subject !== OWN));
    const companionReachedIt = all.some(
      ({ subject, witness }) => subject === OWN && witness === this.#deps.host,
    );
    const problem = describeProblem({
      witnesses,
      companionReachedIt,
      targets,
      hasOthers: scene.witnessList(agent.introduction.key.mesh).some((each) => isOther(each, agent, besides)),
    });
    this.#note(name, { witnesses, companionReachedIt, problem }, witnesses >= WANTED && companionReachedIt);
    return found;
  }

  async #askAll(given: {
    readonly agent: AttachedAgent;
    readonly scene: WitnessScene;
    readonly targets: readonly Place[];
    readonly services: readonly string[];
    readonly besides: ReadonlySet<string>;
    readonly fresh: readonly Acquaintance[];
    readonly nowMs: number;
  }): Promise<readonly Acquaintance[]> {
    const { clock, host, look, questions, random, witnessRates } = this.#deps;
    const { agent, scene, targets, services, besides, fresh, nowMs } = given;
    const { mesh } = agent.introduction.key;
    const control = (witness: string | undefined) =>
      drawControl({
        services,
        besides: witness === undefined ? besides : new Set([...besides, witness]),
        living: scene.controls(mesh, []),
        claimed: scene.claimed,
        random,
      });
    const met = (subject: string, witness: string, findings: readonly TestimonyFinding[]): Acquaintance[] =>
      targets
        .filter((_, at) => findings[at] === 'reached')
        .map((place) => ({ place: placeText(place), subject, witness, reachedAtMs: nowMs }));
    const missing = WANTED - countDistinct(fresh.filter(({ subject }) => subject !== OWN));
    const known = new Set(fresh.map(({ witness }) => witness));
    const asked = drawSome(scene.witnessList(mesh), {
      count: missing,
      accepts: (each) => isOther(each, agent, besides) && !known.has(each.address) && !each.agent.leaving,
      random,
    });
    const now = clock.monotonicMs();
    const mayAsk = ({ agent: witness }: SceneAgent): boolean =>
      this.#zone.take('', 1, now) && witnessRates.take(describeKey(witness.introduction.key), 1, now);
    const isOwnFresh = fresh.some(({ subject, witness }) => subject === OWN && witness === host);
    const answers = await Promise.all([
      ...asked.filter(mayAsk).map(async ({ agent: witness, address, subject }) => {
        const question = { targets, control: control(address), timeoutMs: ROUND_BUDGET_MS };
        return met(subject, address, await questions.ask(witness, question));
      }),
      isOwnFresh || !this.#zone.take('', 1, now)
        ? []
        : look(targets, control(undefined)).then((findings) => met(OWN, host, findings)),
    ]);
    return answers.flat();
  }

  #note(name: string, watchfulness: Watchfulness, isEnough: boolean): void {
    const { clock, random } = this.#deps;
    const misses = isEnough ? 0 : (this.#searches.get(name)?.misses ?? 0) + 1;
    const pauseMs = isEnough ? REFRESH_MS / 2 : Math.min(LATEST_MS, SOON_MS * 2 ** Math.min(misses - 1, 6));
    const nextMs = clock.monotonicMs() + pauseMs * (0.75 + random() / 2);
    this.#searches.set(name, { nextMs, misses, watchfulness });
  }
}

function searchedIn(scene: WitnessScene, agent: AttachedAgent): Searched {
  const overview = scene.overviewOf(describeKey(agent.introduction.key));
  return {
    agent,
    overview,
    targets: overview === undefined ? [] : scene.targetsOf(overview, addressOf(agent)),
  };
}

/** Whether this agent may look at the other one's dataplane: it is another one, at another address. */
function isOther(each: SceneAgent, agent: AttachedAgent, besides: ReadonlySet<string>): boolean {
  return each.agent !== agent && !besides.has(each.address);
}

function countDistinct(known: readonly Acquaintance[]): number {
  return Math.min(
    new Set(known.map(({ witness }) => witness)).size,
    new Set(known.map(({ subject }) => subject)).size,
  );
}

function describeNoTargets(places: readonly Place[], peer: string | undefined): string {
  if (places.length === 0) return 'it has no Ready port that peers connect to';
  const ports = places.map(placeText).join(', ');
  if (peer === undefined || places.some(({ address }) => plainAddress(address) === peer))
    return `no witness may look at ${ports}: another dataplane has the same address and port, or it is this host's`;
  return `its stream comes from ${peer}, and its ports are at ${ports}: through a load balancer or NAT? Name the network of its ports by --witness-networks`;
}

function describeProblem({
  witnesses,
  companionReachedIt,
  targets,
  hasOthers,
}: {
  readonly witnesses: number;
  readonly companionReachedIt: boolean;
  readonly targets: readonly Place[];
  readonly hasOthers: boolean;
}): string {
  if (witnesses >= 2 || (witnesses === 1 && companionReachedIt)) return '';
  if (!hasOthers)
    return companionReachedIt
      ? ''
      : 'no other agent of the mesh is a witness, and the companion does not reach it';
  const places = targets.map(placeText).join(', ');
  return `no two witnesses have reached ${places} from another address: a firewall, or tokens of one subject`;
}
