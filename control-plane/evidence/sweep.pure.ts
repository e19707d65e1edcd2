import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../kuma/overview.ts';
import { decide } from './decision.pure.ts';
import { findLife, offlineMs, type Guard, type Surroundings } from './guards.pure.ts';

export interface SweepView {
  readonly overviews: readonly DataplaneOverview[];
  /** The control plane's own clock when it listed them; `undefined` if it did not say. */
  readonly clockMs: number | undefined;
  /** How long that clock has not been set ahead; left out: it never was. */
  readonly clockSteadyMs?: number;
  readonly around: Surroundings;
  readonly graceMs: number;
  readonly sweepOfflineAfterMs: number;
  /** Names with a record, as `describeKey` writes them: an agent, or a running sweep, looks after those. */
  readonly recorded: ReadonlySet<string>;
  /** Incarnations whose agents have asked to leave, by name as `describeKey` writes it. */
  readonly departed: ReadonlyMap<string, ReadonlySet<string>>;
  /** For how long this process has seen the object the same, as `sameLook` says. */
  readonly unchangedMs: (overview: DataplaneOverview) => number;
}

/** An object that Kuma shows offline, or does not know. */
export interface SweepFinding {
  readonly key: DataplaneKey;
  /** By the control plane's clock; `undefined` if it knows of no end: a ghost, or never connected. */
  readonly offlineMs: number | undefined;
  /** The guard that holds it back; `undefined` for a candidate. */
  readonly guard: Guard | undefined;
  readonly reason: string;
}

/** The dataplanes that a sweep would delete, and the offline ones that a guard holds back. */
export function findOffline(view: SweepView): readonly SweepFinding[] {
  return view.overviews.flatMap((stored) => {
    const key: DataplaneKey = { proxyType: 'dataplane', mesh: stored.mesh, name: stored.name };
    if (view.recorded.has(describeKey(key))) return [];
    if (findLife(stored.subscriptions, view.around) !== undefined) return [];
    return [judge(view, key, stored)];
  });
}

/** The record that a sweep would write. */
const UNRECORDED = {
  state: 'swept',
  incarnation: '',
  owner: 'external',
  deletable: false,
  address: undefined,
  phase: '',
} as const;
const NONE: ReadonlySet<string> = new Set();

function judge(view: SweepView, key: DataplaneKey, stored: DataplaneOverview): SweepFinding {
  const { clockMs, clockSteadyMs = Number.POSITIVE_INFINITY, around, graceMs, sweepOfflineAfterMs } = view;
  const offline = offlineMs(stored, clockMs, clockSteadyMs);
  const decision = decide({
    record: UNRECORDED,
    stream: { kind: 'none' },
    object: { kind: 'present', stored, unchangedMs: view.unchangedMs(stored) },
    envoy: 'unknown',
    pendingMs: 0,
    predecessors: view.departed.get(describeKey(key)) ?? NONE,
    clock: { nowMs: clockMs, steadyMs: clockSteadyMs },
    around,
    graceMs,
    sweepOfflineAfterMs,
  });
  if (decision.verdict === 'stay' || decision.verdict === 'wait') {
    return { key, offlineMs: offline, guard: decision.guard, reason: decision.reason };
  }
  return { key, offlineMs: offline, guard: undefined, reason: reasonOf(stored, offline) };
}

function reasonOf({ subscriptions }: DataplaneOverview, offline: number | undefined): string {
  if (subscriptions.length === 0) return 'no stream of it was ever recorded';
  return offline === undefined
    ? 'its last stream was at a control plane instance that is gone'
    : 'Kuma shows it offline for long enough';
}
