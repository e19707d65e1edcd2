import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import { readinessByService } from '../evidence/services.pure.ts';
import type { SideliningRecord } from '../records.pure.ts';

/** A suspect that no peer reaches. */
export interface SideliningCandidate {
  readonly key: DataplaneKey;
  readonly services: readonly string[];
}

/** A sidelining at any replica. */
export interface PastSidelining extends SideliningCandidate {
  /** By the store's clock, in ms. */
  readonly beganAtMs: number;
  /** Whether the object is, or may be, out of rotation. */
  readonly isActive: boolean;
}

export function pastOf(known: readonly SideliningRecord[]): readonly PastSidelining[] {
  return known.map((each) => ({ ...each, isActive: each.stage !== 'released' }));
}

export interface LimitsView {
  readonly overviews: readonly DataplaneOverview[];
  readonly past: readonly PastSidelining[];
  /** Whether it has lost its agent, and no peer has reached it since: it counts as a member, but not as ready. */
  readonly isDoubted: (name: string) => boolean;
  readonly nowMs: number;
}

export type SideliningRuling =
  | { readonly admitted: true }
  | { readonly admitted: false; readonly reason: string };

/** How long a sidelining counts. */
export const WINDOW_MS = 600_000;
const MOST = 0.5;

/**
 * Which unreached suspects may go: never the last ready one of a service, and not more than half of a service or of a
 * mesh within the window. This is one decision for all of them: each admitted one counts for the next.
 *
 * @returns by name
 */
export function admitSidelinings(
  candidates: readonly SideliningCandidate[],
  view: LimitsView,
): ReadonlyMap<string, SideliningRuling> {
  const fleet = new Fleet(view);
  return new Map(candidates.map((candidate) => [describeKey(candidate.key), fleet.admit(candidate)]));
}

interface LimitScope {
  readonly members: Set<string>;
  readonly ready: Set<string>;
  /** Sidelined within the window, or still sidelined. */
  readonly sidelined: Set<string>;
}

class Fleet {
  readonly #scopes = new Map<string, LimitScope>();

  constructor({ overviews, past, isDoubted, nowMs }: LimitsView) {
    for (const overview of overviews) this.#note(overview, isDoubted(describeKey(keyOf(overview))));
    for (const { key, services, beganAtMs, isActive } of past) {
      if (!isActive && nowMs - beganAtMs >= WINDOW_MS) continue;
      for (const name of scopesOf(key, services)) this.#take(name, describeKey(key), isActive);
    }
  }

  admit({ key, services }: SideliningCandidate): SideliningRuling {
    const name = describeKey(key);
    for (const scope of scopesOf(key, services)) {
      const reason = this.#refusal(scope, name);
      if (reason !== undefined) return { admitted: false, reason };
    }
    for (const scope of scopesOf(key, services)) this.#take(scope, name, true);
    return { admitted: true };
  }

  #refusal(scopeName: string, name: string): string | undefined {
    const { members, ready, sidelined } = this.#scope(scopeName);
    const isService = scopeName.includes(' ');
    const what = isService ? `of ${scopeName.slice(scopeName.indexOf(' ') + 1)}` : `of mesh ${scopeName}`;
    if (isService && ready.size <= (ready.has(name) ? 1 : 0)) return `it is the last ready one ${what}`;
    const all = members.size + (members.has(name) ? 0 : 1);
    const out = sidelined.size + (sidelined.has(name) ? 0 : 1);
    return out > all * MOST ? `${out - 1} of ${all} ${what} are or were sidelined within 10 min` : undefined;
  }

  #note(overview: DataplaneOverview, isDoubted: boolean): void {
    const key = keyOf(overview);
    const services = readinessByService(overview);
    for (const scope of scopesOf(key, [...services.keys()])) this.#scope(scope).members.add(describeKey(key));
    for (const [service, isReady] of services)
      if (isReady && !isDoubted) this.#scope(serviceScope(key, service)).ready.add(describeKey(key));
  }

  #take(scopeName: string, name: string, isActive: boolean): void {
    const scope = this.#scope(scopeName);
    scope.sidelined.add(name);
    // A dataplane that was deleted since counts as a member.
    scope.members.add(name);
    if (isActive) scope.ready.delete(name);
  }

  #scope(name: string): LimitScope {
    const known = this.#scopes.get(name);
    if (known !== undefined) return known;
    const scope = { members: new Set<string>(), ready: new Set<string>(), sidelined: new Set<string>() };
    this.#scopes.set(name, scope);
    return scope;
  }
}

function scopesOf(key: DataplaneKey, services: readonly string[]): readonly string[] {
  return [key.mesh, ...services.map((service) => serviceScope(key, service))];
}

/** The name of a mesh has no blank. */
function serviceScope({ mesh }: DataplaneKey, service: string): string {
  return `${mesh} ${service}`;
}
