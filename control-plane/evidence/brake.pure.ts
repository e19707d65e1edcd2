import { formatDuration } from '../../kernel/duration.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import type { Cause, DepartureOutcome } from '../records.pure.ts';
import { readinessByService } from './services.pure.ts';

export interface BrakeSettings {
  /** The share of a mesh's or a service's dataplanes that may be deleted in one window without a request; in [0, 1]. */
  readonly share: number;
  /** Deletions that are always allowed, however small the mesh. */
  readonly minimum: number;
  readonly windowMs: number;
}

export const DEFAULT_BRAKE: BrakeSettings = { share: 0.25, minimum: 3, windowMs: 600_000 };

/** A departure that ended, with the services of its last body. */
export interface PastDeletion {
  readonly key: DataplaneKey;
  readonly cause: Cause;
  readonly outcome: DepartureOutcome;
  readonly atMs: number;
  readonly services: readonly string[];
}

/** The evidence of the brake. Times are the store's, in ms. */
export interface BrakeView {
  readonly overviews: readonly DataplaneOverview[];
  readonly past: readonly PastDeletion[];
  /** Empty mesh: every mesh. */
  readonly releases: readonly { readonly mesh: string; readonly untilMs: number }[];
  readonly nowMs: number;
  readonly settings: BrakeSettings;
}

export type BrakeRuling =
  | { readonly held: false }
  | { readonly held: true; readonly reason: string; readonly retryAfterMs: number };

/** The state of one mesh, or of one service of it: `BrakeStatus` of the contract. */
export interface BrakeStanding {
  readonly mesh: string;
  /** Empty: the whole mesh. */
  readonly service: string;
  readonly dataplanes: number;
  readonly deleted: number;
  readonly allowed: number;
  readonly heldBack: number;
  readonly reason: string;
  readonly releasedForMs: number | undefined;
}

interface BrakeScope {
  readonly mesh: string;
  readonly service: string;
}

/** The present dataplanes, and those deleted within the window, with the time. */
interface ScopeCount extends BrakeScope {
  readonly present: ReadonlySet<string>;
  readonly deletedAtMs: ReadonlyMap<string, number>;
}

const RELEASE_HINT = 'released by `kuma-deregistrar brake release`';
/** Another one of its service may become ready at any time. */
const RELOOK_MS = 15_000;

/**
 * Whether the companion may delete one more dataplane without a request of its agent. Within the window it deletes at most
 * a share of the dataplanes of each mesh and of each service. It never deletes the last ready dataplane of a service. An
 * object that is not ready may go: no peer has it. An operator's release lifts both limits. Do not ask about requested
 * departures.
 */
export function judgeBrake(view: BrakeView, candidate: DataplaneOverview): BrakeRuling {
  if (releasedForMs(view, candidate.mesh) !== undefined) return { held: false };
  for (const scope of scopesOf(candidate)) {
    const ruling = judgeScope(view, scopeCount(view, scope), candidate);
    if (ruling.held) return ruling;
  }
  return { held: false };
}

/** The meshes and services that hold one of `waiting` back, or would hold the next but one. */
export function describeBrakes(
  view: BrakeView,
  waiting: readonly DataplaneOverview[],
): readonly BrakeStanding[] {
  const scopes = new Map(
    [...waiting.flatMap(scopesOf), ...recent(view).flatMap(scopesOfPast)].map((scope) => [
      JSON.stringify([scope.mesh, scope.service]),
      scope,
    ]),
  );
  return [...scopes.values()].flatMap((scope) => {
    const standing = standingOf(view, scope, waiting);
    const { heldBack, deleted, allowed } = standing;
    return heldBack > 0 || (deleted > 0 && deleted + 1 >= allowed) ? [standing] : [];
  });
}

function standingOf(
  view: BrakeView,
  scope: BrakeScope,
  waiting: readonly DataplaneOverview[],
): BrakeStanding {
  const counted = scopeCount(view, scope);
  const released = releasedForMs(view, scope.mesh);
  const standing = {
    ...scope,
    dataplanes: countAll(counted),
    deleted: counted.deletedAtMs.size,
    allowed: countAllowed(view, counted),
    releasedForMs: released,
  };
  if (released !== undefined)
    return { ...standing, heldBack: 0, reason: `released for ${minutes(released)}` };
  const held = waiting
    .filter((each) => isIn(scope, each))
    .map((each) => judgeScope(view, counted, each))
    .filter((ruling) => ruling.held);
  return { ...standing, heldBack: held.length, reason: held[0]?.reason ?? describeScopeCount(view, counted) };
}

function releasedForMs({ releases, nowMs }: BrakeView, mesh: string): number | undefined {
  const left = releases
    .filter((release) => release.mesh === '' || release.mesh === mesh)
    .map(({ untilMs }) => untilMs - nowMs)
    .filter((ms) => ms > 0);
  return left.length === 0 ? undefined : Math.max(...left);
}

function scopesOf(overview: DataplaneOverview): readonly BrakeScope[] {
  const { mesh } = overview;
  return ['', ...readinessByService(overview).keys()].map((service) => ({ mesh, service }));
}

function scopesOfPast({ key: { mesh }, services }: PastDeletion): readonly BrakeScope[] {
  return ['', ...services].map((service) => ({ mesh, service }));
}

function judgeScope(view: BrakeView, counted: ScopeCount, candidate: DataplaneOverview): BrakeRuling {
  if (isLastReady(view, counted, candidate)) {
    const reason = `it is the last ready dataplane ${describeScope(counted)}; ${RELEASE_HINT} or once another one is ready`;
    return { held: true, reason, retryAfterMs: RELOOK_MS };
  }
  if (fits(view, counted, candidate)) return { held: false };
  const retryAfterMs = fitsAfterMs(view, counted, candidate);
  const reason = `${describeScopeCount(view, counted)}; ${RELEASE_HINT} or in ${minutes(retryAfterMs)}`;
  return { held: true, reason, retryAfterMs };
}

function isLastReady(
  { overviews }: BrakeView,
  { mesh, service }: BrakeScope,
  candidate: DataplaneOverview,
): boolean {
  const isReady = (each: DataplaneOverview): boolean => readinessByService(each).get(service) === true;
  if (service === '' || !isReady(candidate)) return false;
  return !overviews.some((each) => each.mesh === mesh && each.name !== candidate.name && isReady(each));
}

/** A dataplane that was deleted twice in the window counts once. */
function fits(view: BrakeView, counted: ScopeCount, candidate: DataplaneOverview): boolean {
  const { deletedAtMs } = counted;
  const more = deletedAtMs.has(nameOf(candidate)) ? 0 : 1;
  return deletedAtMs.size + more <= countAllowed(view, counted);
}

/** When enough deletions have left the window. */
function fitsAfterMs(view: BrakeView, counted: ScopeCount, candidate: DataplaneOverview): number {
  const { nowMs, settings } = view;
  const remaining = new Map([...counted.deletedAtMs].toSorted(([, a], [, b]) => a - b));
  for (const [name, atMs] of remaining) {
    remaining.delete(name);
    if (fits(view, { ...counted, deletedAtMs: remaining }, candidate)) {
      return Math.min(atMs, nowMs) + settings.windowMs - nowMs;
    }
  }
  return settings.windowMs;
}

function scopeCount(view: BrakeView, scope: BrakeScope): ScopeCount {
  const { mesh, service } = scope;
  const deletedAtMs = new Map<string, number>();
  for (const { key, services, atMs } of recent(view)) {
    if (key.mesh !== mesh || (service !== '' && !services.includes(service))) continue;
    const name = describeKey(key);
    deletedAtMs.set(name, Math.max(atMs, deletedAtMs.get(name) ?? atMs));
  }
  const present = new Set(view.overviews.filter((each) => isIn(scope, each)).map(nameOf));
  return { ...scope, present, deletedAtMs };
}

function countAll({ present, deletedAtMs }: ScopeCount): number {
  return present.size + [...deletedAtMs.keys()].filter((name) => !present.has(name)).length;
}

function countAllowed({ settings }: BrakeView, counted: ScopeCount): number {
  return Math.max(settings.minimum, Math.floor(countAll(counted) * settings.share));
}

/** A time in the future means that the clock was set back: the deletion counts. */
function recent({ past, nowMs, settings }: BrakeView): readonly PastDeletion[] {
  return past.filter(
    ({ cause, outcome, atMs }) =>
      cause !== 'requested' && outcome === 'deleted' && atMs > nowMs - settings.windowMs,
  );
}

function isIn({ mesh, service }: BrakeScope, overview: DataplaneOverview): boolean {
  return overview.mesh === mesh && (service === '' || readinessByService(overview).has(service));
}

function nameOf({ mesh, name }: DataplaneOverview): string {
  return describeKey({ proxyType: 'dataplane', mesh, name });
}

function describeScopeCount(view: BrakeView, counted: ScopeCount): string {
  const { share, minimum, windowMs } = view.settings;
  const rule = `${Math.round(share * 100)} %, at least ${minimum}`;
  const { deletedAtMs } = counted;
  return (
    `${deletedAtMs.size} of ${countAll(counted)} dataplanes ${describeScope(counted)} were deleted in the last ` +
    `${minutes(windowMs)}, at most ${countAllowed(view, counted)} (${rule})`
  );
}

function describeScope({ mesh, service }: BrakeScope): string {
  return service === '' ? `of mesh ${mesh}` : `of service ${service} in mesh ${mesh}`;
}

/** Rounded up, so that no caller looks too early. */
function minutes(ms: number): string {
  const unitMs = ms > 120_000 ? 60_000 : 1_000;
  return formatDuration(Math.ceil(ms / unitMs) * unitMs);
}
