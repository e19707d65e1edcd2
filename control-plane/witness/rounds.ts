import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { isOnline, type DataplaneOverview } from '../../kuma/overview.ts';
import { restored } from '../../kuma/sidelined.ts';
import type { DeregistrarEvents } from '../events.ts';
import { readinessByService } from '../evidence/services.pure.ts';
import type { ControlPlanes, Store } from '../ports.ts';
import type { Acquaintance } from '../records.pure.ts';
import { drawWitnesses, type Drawn } from './draw.pure.ts';
import { findingOf, type Questions } from './questions.ts';
import { RATES, Rates } from './rates.pure.ts';
import type { SceneAgent, WitnessScene } from './scene.ts';
import type { OpenRound, Suspect } from './suspect.pure.ts';
import { isAccusing, OWN, ROUND_BUDGET_MS, type TestimonyFinding, type Testimony } from './suspicion.pure.ts';
import { drawControl, placeText, type Control, type Place } from './targets.pure.ts';

/** The companion's own look */
export type OwnLook = (
  targets: readonly Place[],
  control: Control | undefined,
) => Promise<readonly TestimonyFinding[]>;

export interface RoundsDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: DeregistrarEvents;
  readonly store: Pick<Store, 'acquaintances'>;
  readonly controlPlanes: Pick<ControlPlanes, 'overview'>;
  readonly questions: Questions;
  readonly look: OwnLook;
  /** The witness name of this process. */
  readonly host: string;
  readonly witnessRates: Rates;
}

interface RoundView extends BeginView {
  readonly suspect: Suspect;
  readonly places: readonly Place[];
  readonly round: OpenRound;
}

interface BeginView {
  readonly scene: WitnessScene;
  readonly overview: DataplaneOverview;
  readonly onChange: () => void;
}

/** How long a witness that has reached a place may accuse it. */
export const VALID_MS = 900_000;
const OVERVIEW_BUDGET_MS = 1_000;

/** Asks up to three acquaintances of a suspect, and looks itself. */
export class Rounds {
  readonly #deps: RoundsDeps;
  readonly #suspects = new Rates(RATES.suspect);
  readonly #addresses = new Rates(RATES.address);

  constructor(deps: RoundsDeps) {
    this.#deps = deps;
  }

  /** The largest number of looks in a round, for the rate of the zone. */
  get looksInRound(): number {
    return 4;
  }

  /** @returns `undefined` if nothing may be asked */
  begin(suspect: Suspect, view: BeginView): OpenRound | undefined {
    const { clock, events } = this.#deps;
    const startedMs = clock.monotonicMs();
    const places = placesOf(suspect, view.scene, view.overview);
    const name = describeKey(suspect.key);
    if (places.length === 0 || !this.#suspects.take(name, 1, startedMs)) return undefined;
    suspect.places = places;
    const round: OpenRound = {
      startedMs,
      isClosed: false,
      testimonies: [],
      settledMs: undefined,
      isOffline: undefined,
      companionReachedIt: suspect.rounds.at(-1)?.companionReachedIt === true,
    };
    void this.#hold({ ...view, suspect, places, round })
      .catch((error: unknown) => {
        if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
      })
      .finally(() => {
        round.isClosed = true;
        view.onChange();
      });
    return round;
  }

  async overviewOf(key: DataplaneKey): Promise<DataplaneOverview | undefined> {
    const { clock, controlPlanes } = this.#deps;
    const action = `look at dataplane ${describeKey(key)}`;
    const look = await withDeadline({ clock, action, budgetMs: OVERVIEW_BUDGET_MS }, ({ signal }) =>
      controlPlanes.overview(key, signal),
    );
    return look.overview;
  }

  async #hold(view: RoundView): Promise<void> {
    const { clock, store, host } = this.#deps;
    const { suspect, places, round } = view;
    const storeMs = suspect.lostAtMs + clock.monotonicMs() - suspect.lostMs;
    const known = await store.acquaintances(places.map(placeText), storeMs - VALID_MS);
    const own = known.filter(({ subject, witness }) => subject === OWN && witness === host);
    round.companionReachedIt ||= own.length > 0;
    await Promise.all([
      ...this.#draw(view, known).map((drawn) => this.#askOne(view, drawn)),
      ...(own.length > 0 ? [this.#lookOneself(view, own)] : []),
      ...(suspect.cause === 'dark' ? [] : [this.#noteOffline(view)]),
    ]);
  }

  #draw(view: RoundView, known: readonly Acquaintance[]): readonly Drawn<SceneAgent>[] {
    const { clock, random, witnessRates } = this.#deps;
    const { suspect, scene, overview } = view;
    const drawn = drawWitnesses({
      agents: scene.witnesses(suspect.key.mesh),
      known: known.filter(({ subject }) => subject !== OWN),
      besides: addressesOf(suspect, scene, overview),
      services: [...readinessByService(overview).keys()],
      random,
    });
    return drawn.filter(({ agent }) =>
      witnessRates.take(describeKey(agent.agent.introduction.key), 1, clock.monotonicMs()),
    );
  }

  async #askOne(view: RoundView, { agent, places: reached }: Drawn<SceneAgent>): Promise<void> {
    const targets = this.#affordable(view.places.filter((place) => reached.has(placeText(place))));
    if (targets.length === 0) return;
    const control = this.#control(view, agent.address);
    const question = { targets, control, timeoutMs: ROUND_BUDGET_MS };
    const finding = findingOf(await this.#deps.questions.ask(agent.agent, question));
    this.#note(view, { witness: agent.address, finding, siblings: control?.siblingOf ?? [] });
  }

  async #lookOneself(view: RoundView, own: readonly Acquaintance[]): Promise<void> {
    const reached = new Set(own.map(({ place }) => place));
    const targets = this.#affordable(view.places.filter((place) => reached.has(placeText(place))));
    if (targets.length === 0) return;
    const control = this.#control(view, undefined);
    const finding = findingOf(await this.#deps.look(targets, control));
    this.#note(view, { witness: OWN, finding, siblings: control?.siblingOf ?? [] });
  }

  async #noteOffline({ suspect, round }: RoundView): Promise<void> {
    const overview = await this.overviewOf(suspect.key);
    round.isOffline = overview !== undefined && !overview.subscriptions.some(isOnline);
  }

  #note({ round, onChange }: RoundView, testimony: Testimony): void {
    round.testimonies.push(testimony);
    if (round.testimonies.filter(isAccusing).length === 2) round.settledMs = this.#deps.clock.monotonicMs();
    onChange();
  }

  #affordable(targets: readonly Place[]): readonly Place[] {
    const nowMs = this.#deps.clock.monotonicMs();
    const addresses = [...new Set(targets.map(({ address }) => address))];
    return addresses.every((address) => this.#addresses.take(address, 1, nowMs)) ? targets : [];
  }

  /** A sibling of the same service; if all of them are at the suspect or the witness, another host. */
  #control({ suspect, scene, overview }: RoundView, witness: string | undefined): Control | undefined {
    const { mesh } = suspect.key;
    const services = [...readinessByService(overview).keys()];
    const besides = new Set(addressesOf(suspect, scene, overview));
    if (witness !== undefined) besides.add(witness);
    const common = { services, besides, claimed: scene.claimed, random: this.#deps.random };
    return (
      drawControl({ ...common, living: scene.controls(mesh, services) }) ??
      drawControl({ ...common, living: scene.controls(mesh, []) })
    );
  }
}

/** The places where peers would connect without the sidelining. */
function placesOf(suspect: Suspect, scene: WitnessScene, overview: DataplaneOverview): readonly Place[] {
  const resource = restored(overview.resource);
  const places = scene.targetsOf({ ...overview, resource }, suspect.peer);
  return places.length > 0 ? places : suspect.places;
}

/** Addresses of the suspect: an agent there is no witness. */
export function addressesOf(
  suspect: Suspect,
  scene: WitnessScene,
  overview: DataplaneOverview,
): ReadonlySet<string> {
  const addresses = placesOf(suspect, scene, overview).map(({ address }) => address);
  return new Set([...addresses, ...(suspect.peer === undefined ? [] : [suspect.peer])]);
}
