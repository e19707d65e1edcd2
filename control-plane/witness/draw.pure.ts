import type { Acquaintance } from '../records.pure.ts';

/** An agent that may be asked. */
export interface Eligible {
  readonly address: string;
  readonly subject: string;
  /** The services that it calls, as far as its object shows. */
  readonly calls: ReadonlySet<string>;
}

/** A witness and the places that it has reached before. */
export interface Drawn<Agent extends Eligible> {
  readonly agent: Agent;
  readonly places: ReadonlySet<string>;
}

export interface DrawCase<Agent extends Eligible> {
  /** By {@link witnessName}; several agents may have one address and one token. */
  readonly agents: ReadonlyMap<string, Agent>;
  /** Witnesses with a valid record of having reached a place of the suspect. */
  readonly known: readonly Acquaintance[];
  /** Addresses of the suspect. */
  readonly besides: ReadonlySet<string>;
  readonly services: readonly string[];
  /** In [0, 1). */
  readonly random: () => number;
}

export const WITNESSES = 3;

export function witnessName({ subject, witness }: Pick<Acquaintance, 'subject' | 'witness'>): string {
  return JSON.stringify([subject, witness]);
}

/**
 * Up to three acquaintances, drawn anew each time: clients of the service first, at different addresses, with tokens of
 * different subjects.
 */
export function drawWitnesses<Agent extends Eligible>(given: DrawCase<Agent>): readonly Drawn<Agent>[] {
  const reached = new Map<string, Set<string>>();
  for (const { place, ...who } of given.known) {
    const name = witnessName(who);
    reached.set(name, (reached.get(name) ?? new Set<string>()).add(place));
  }
  const candidates = [...reached].flatMap(([name, places]) => {
    const agent = given.agents.get(name);
    return agent === undefined || given.besides.has(agent.address) ? [] : [{ agent, places }];
  });
  const drawn: Drawn<Agent>[] = [];
  for (const candidate of inOrder(candidates, given)) {
    const isNew = drawn.every(
      ({ agent }) => agent.address !== candidate.agent.address && agent.subject !== candidate.agent.subject,
    );
    if (isNew && drawn.length < WITNESSES) drawn.push(candidate);
  }
  return drawn;
}

function inOrder<Agent extends Eligible>(
  candidates: readonly Drawn<Agent>[],
  { services, random }: DrawCase<Agent>,
): readonly Drawn<Agent>[] {
  const rank = ({ agent }: Drawn<Agent>): number =>
    random() + (services.some((service) => agent.calls.has(service)) ? 0 : 1);
  return candidates
    .map((candidate) => ({ candidate, at: rank(candidate) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ candidate }) => candidate);
}

export interface SomeOf<T> {
  readonly count: number;
  readonly accepts: (one: T) => boolean;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * Up to `count` distinct elements that are acceptable; fewer only if there are no more. The search for each begins at a
 * random element and ends with the first acceptable one: most of ten thousand elements are not looked at.
 */
export function drawSome<T>(from: readonly T[], { count, accepts, random }: SomeOf<T>): readonly T[] {
  const drawn = new Set<T>();
  while (drawn.size < count) {
    const start = Math.floor(random() * from.length);
    const next = firstFrom(from, start, (one) => !drawn.has(one) && accepts(one));
    if (next === undefined) break;
    drawn.add(next);
  }
  return [...drawn];
}

function firstFrom<T>(all: readonly T[], start: number, accepts: (one: T) => boolean): T | undefined {
  for (let at = 0; at < all.length; at += 1) {
    const one = all[(start + at) % all.length];
    if (one !== undefined && accepts(one)) return one;
  }
  return undefined;
}
