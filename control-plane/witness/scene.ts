import type { Clock } from '../../kernel/clock.ts';
import { isObject } from '../../kernel/json.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import type { AttachedAgent } from '../attached-agent.ts';
import { readinessByService } from '../evidence/services.pure.ts';
import { witnessName, type Eligible } from './draw.pure.ts';
import { plainAddress, type Networks } from './networks.pure.ts';
import { claims, targetsOf, type Place } from './targets.pure.ts';

/** An agent that is attached here and looks. */
export interface SceneAgent extends Eligible {
  readonly agent: AttachedAgent;
}

/** A place of an attached dataplane, by which a witness shows that it can look. */
export interface LivingPlace extends Place {
  readonly services: readonly string[];
}

/** The fleet and the agents that are attached here, at one moment. Made once for all suspects of a round. */
export class WitnessScene {
  readonly overviews: readonly DataplaneOverview[];
  readonly claimed: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #networks: Networks;
  readonly #byName: ReadonlyMap<string, DataplaneOverview>;
  readonly #agents = new Map<string, Map<string, SceneAgent>>();
  readonly #addresses = new Map<string, Set<string>>();
  readonly #living = new Map<string, LivingPlace[]>();
  readonly #lists = new Map<string, readonly SceneAgent[]>();

  /** @param isSuspect names of present suspects: they are neither witnesses nor controls */
  constructor(
    overviews: readonly DataplaneOverview[],
    agents: Iterable<AttachedAgent>,
    { networks, isSuspect }: { readonly networks: Networks; readonly isSuspect: (name: string) => boolean },
  ) {
    this.overviews = overviews;
    this.#networks = networks;
    this.claimed = claims(overviews);
    this.#byName = new Map(overviews.map((each) => [describeKey(keyOf(each)), each]));
    for (const agent of agents) {
      const name = describeKey(agent.introduction.key);
      if (!agent.leaving && agent.epoch !== undefined && !isSuspect(name)) this.#note(agent, name);
    }
  }

  overviewOf(name: string): DataplaneOverview | undefined {
    return this.#byName.get(name);
  }

  targetsOf(overview: DataplaneOverview, peer: string | undefined): readonly Place[] {
    return targetsOf(overview, this.claimed, { networks: this.#networks, peer });
  }

  /** Agents of a mesh that look, by address and subject. */
  witnesses(mesh: string): ReadonlyMap<string, SceneAgent> {
    return this.#agents.get(mesh) ?? NONE;
  }

  /** The same, to draw from. */
  witnessList(mesh: string): readonly SceneAgent[] {
    const list = this.#lists.get(mesh) ?? [...this.witnesses(mesh).values()];
    this.#lists.set(mesh, list);
    return list;
  }

  /** Whether an agent of the mesh is attached at another address, whether it looks or not. */
  hasOthers(mesh: string, besides: ReadonlySet<string>): boolean {
    return (
      this.#addresses
        .get(mesh)
        ?.values()
        .some((address) => !besides.has(address)) === true
    );
  }

  /** Places of attached dataplanes of these services; of the whole mesh if it has none of them. */
  controls(mesh: string, services: readonly string[]): readonly LivingPlace[] {
    const siblings = services.flatMap((service) => this.#living.get(scope(mesh, service)) ?? []);
    return siblings.length > 0 ? siblings : (this.#living.get(scope(mesh, '')) ?? []);
  }

  #note(agent: AttachedAgent, name: string): void {
    const { mesh } = agent.introduction.key;
    const { subject, looks } = agent.channel;
    const address = addressOf(agent);
    const overview = this.#byName.get(name);
    this.#addresses.set(mesh, (this.#addresses.get(mesh) ?? new Set<string>()).add(address ?? name));
    if (address !== undefined && looks) {
      const ofMesh = this.#agents.get(mesh) ?? new Map<string, SceneAgent>();
      const calls = new Set(overview === undefined ? [] : callsOf(overview));
      ofMesh.set(witnessName({ subject, witness: address }), { agent, address, subject, calls });
      this.#agents.set(mesh, ofMesh);
    }
    if (overview === undefined || !agent.serving) return;
    const services = [...readinessByService(overview).keys()];
    const [place] = this.targetsOf(overview, address);
    if (place === undefined) return;
    for (const service of ['', ...services]) {
      const known = this.#living.get(scope(mesh, service)) ?? [];
      known.push({ ...place, services });
      this.#living.set(scope(mesh, service), known);
    }
  }
}

export interface ScenesDeps {
  readonly clock: Clock;
  readonly agents: Iterable<AttachedAgent>;
  readonly networks: Networks;
}

const FRESH_MS = 1_000;

/** One set of witnesses and controls, for all suspects within a second. */
export class Scenes {
  readonly #deps: ScenesDeps;
  #last: { readonly atMs: number; readonly scene: WitnessScene } | undefined;

  constructor(deps: ScenesDeps) {
    this.#deps = deps;
  }

  /** @param isSuspect as in {@link WitnessScene} */
  of(overviews: readonly DataplaneOverview[], isSuspect: (name: string) => boolean): WitnessScene {
    const { clock, agents, networks } = this.#deps;
    const nowMs = clock.monotonicMs();
    const last = this.#last;
    if (last?.scene.overviews === overviews && nowMs - last.atMs < FRESH_MS) return last.scene;
    const scene = new WitnessScene(overviews, agents, { networks, isSuspect });
    this.#last = { atMs: nowMs, scene };
    return scene;
  }
}

/** The address from which its stream comes. */
export function addressOf({ channel }: AttachedAgent): string | undefined {
  return channel.address === undefined ? undefined : plainAddress(channel.address);
}

const NONE: ReadonlyMap<string, SceneAgent> = new Map();

/** The name of a mesh has no blank. */
function scope(mesh: string, service: string): string {
  return `${mesh} ${service}`;
}

/** The services that its outbounds name, if the object has any. */
function callsOf({ networking }: DataplaneOverview): readonly string[] {
  const outbounds: unknown = networking?.['outbound'];
  if (!Array.isArray(outbounds)) return [];
  return outbounds.flatMap((outbound: unknown) => {
    const tags = isObject(outbound) ? outbound['tags'] : undefined;
    const service = isObject(tags) ? tags['kuma.io/service'] : undefined;
    return typeof service === 'string' ? [service] : [];
  });
}
