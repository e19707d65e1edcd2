import type { Clock } from '../../kernel/clock.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import type { AttachedAgent, WitnessTestimony } from '../attached-agent.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import { keepRunning } from '../periodically.ts';
import type { ControlPlanes, DueShare, Store } from '../ports.ts';
import { AcquaintanceSearch } from './acquaintances.ts';
import type { LossCause } from './loss.pure.ts';
import type { Networks } from './networks.pure.ts';
import { Questions, type AnswerStanding } from './questions.ts';
import { RATES, Rates } from './rates.pure.ts';
import { Rounds, type OwnLook } from './rounds.ts';
import { Sidelinings } from './sidelinings.ts';
import { StrayMarks } from './stray-marks.ts';
import { Suspects } from './suspects.ts';

/** Dependencies of the witness logic. */
export interface WitnessSettings {
  readonly isOn: boolean;
  readonly networks: Networks;
  readonly look: OwnLook;
  /** The witness name of this process. */
  readonly host: string;
  readonly onAnswer: (standing: AnswerStanding) => void;
  /** @param tookMs from the loss, by the store's clock */
  readonly onSidelined: (tookMs: number) => void;
  readonly onRestored: () => void;
}

export interface WitnessesDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  readonly watch: ZoneWatch;
  readonly agents: Pick<AttachedAgents, 'size' | 'find' | 'isReturning' | typeof Symbol.iterator>;
  readonly share: () => DueShare | undefined;
  readonly settings: WitnessSettings;
}

/** Writes under way at once; each of PostgreSQL's holds a connection. */
const CONCURRENCY = { sqlite: 32, postgres: 12 } as const;

/**
 * Takes a lost host out of its peers' lists within seconds if no peer reaches it, and puts it back when it returns.
 * Switched off, it only puts back.
 */
export class Witnesses {
  readonly suspects: Suspects;
  readonly sidelinings: Sidelinings;
  readonly search: AcquaintanceSearch;
  readonly isOn: boolean;
  readonly #deps: WitnessesDeps;
  readonly #questions: Questions;
  readonly #strays: StrayMarks;

  constructor(deps: WitnessesDeps) {
    const { store, settings, clock } = deps;
    const { isOn, networks, look, host, onAnswer, onRestored } = settings;
    const witnessRates = new Rates(RATES.witness);
    const questions = new Questions(clock, onAnswer);
    const common = { ...deps, isOn, networks, look, host, questions, witnessRates };
    this.#deps = deps;
    this.isOn = isOn;
    this.#questions = questions;
    this.sidelinings = new Sidelinings({
      ...common,
      isReturning: (key) => deps.agents.isReturning(key),
      isDoubted: (name) => this.suspects.isDoubted(name),
      concurrency: CONCURRENCY[store.kind],
      onSidelined: (_, tookMs) => {
        settings.onSidelined(tookMs);
      },
      onRestored,
    });
    this.suspects = new Suspects({ ...common, rounds: new Rounds(common), sidelinings: this.sidelinings });
    this.search = new AcquaintanceSearch(common);
    this.#strays = new StrayMarks({
      ...deps,
      nudge: () => {
        this.sidelinings.nudge();
      },
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const parts = [this.sidelinings, this.#strays, ...(this.isOn ? [this.suspects, this.search] : [])];
    await Promise.all(parts.map((part) => keepRunning(this.#deps, part, signal)));
  }

  lost(agent: AttachedAgent, cause: LossCause): Promise<void> {
    return this.isOn ? this.suspects.lost(agent, cause) : Promise.resolve();
  }

  /** Called when an agent of this name is attached here. */
  returned(key: DataplaneKey): void {
    this.suspects.returned(key);
  }

  testified(agent: AttachedAgent, testimony: WitnessTestimony): void {
    this.#questions.receive(agent, testimony);
  }
}
