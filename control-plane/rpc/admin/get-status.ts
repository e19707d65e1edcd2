import type { Clock } from '../../../kernel/clock.ts';
import { VERSION } from '../../../kernel/version.ts';
import type {
  BrakeStatus,
  ControlPlaneStatus,
  DataplaneStatus,
  Departure,
  GetStatusRequest,
  GetStatusResponse,
  Sidelined,
  Unwatched,
} from '../../../proto/gen/deregistrar/v1/admin.ts';
import type { Duration } from '../../../proto/gen/google/protobuf/duration.ts';
import type { AttachedAgents } from '../../agents/attached-agents.ts';
import { readFleet } from '../../agents/fleet-reading.ts';
import type { ReplicaHeartbeat } from '../../agents/replica-heartbeat.ts';
import type { BrakeGate } from '../../evidence/brake-gate.ts';
import type { BrakeStanding } from '../../evidence/brake.pure.ts';
import type { FleetRecord, KnownDeparture, SideliningRecord } from '../../records.pure.ts';
import type { Store } from '../../ports.ts';
import type { WatchedControlPlane, ZoneWatch } from '../../evidence/zone-watch.ts';
import type { AcquaintanceSearch } from '../../witness/acquaintances.ts';
import { describeKey } from '../../../kuma/dataplane.ts';
import { toWireDuration } from '../../../proto/wire-duration.ts';
import { asControlPlane } from '../answers.ts';

export interface GetStatusDeps {
  readonly clock: Clock;
  readonly store: Store;
  readonly watch: ZoneWatch;
  readonly agents: AttachedAgents;
  readonly heartbeat: ReplicaHeartbeat;
  readonly brakes: BrakeGate;
  readonly search: Pick<AcquaintanceSearch, 'watchfulness'>;
  readonly replica: string;
  readonly startedAtMs: number;
}

/** The operator's overview. Unreadable parts are left out and named. */
export async function getStatus(deps: GetStatusDeps, { mesh }: GetStatusRequest): Promise<GetStatusResponse> {
  const { brakes, clock, heartbeat, watch, replica, startedAtMs } = deps;
  const fleet = await readFleet(deps);
  const { nowMs } = fleet;
  const isWanted = ({ key }: { readonly key: { readonly mesh: string } }): boolean =>
    mesh === '' || key.mesh === mesh;
  // The brake needs a control plane that answers, and the store.
  const standings = nowMs === undefined ? [] : await brakes.standings().catch(() => []);
  return {
    version: VERSION,
    replica,
    up: toWireDuration(clock.monotonicMs() - startedAtMs),
    store: { kind: deps.store.kind, problem: fleet.problem, replicas: [...heartbeat.replicas] },
    controlPlanes: watch.controlPlanes.map(asControlPlaneStatus),
    dataplanes: fleet.records.filter(isWanted).map((record) => asDataplaneStatus(record, nowMs)),
    brakes: standings.map(asBrakeStatus),
    departures: fleet.departures.filter(isWanted).map(asDeparture),
    sidelined: fleet.sidelinings.filter(isWanted).map((each) => asSidelined(each, nowMs)),
    unwatched: unwatched(deps).filter(({ dataplane }) => mesh === '' || dataplane?.mesh === mesh),
  };
}

function asControlPlaneStatus({ url, seen, upMs }: WatchedControlPlane): ControlPlaneStatus {
  return 'facts' in seen
    ? { url, controlPlane: asControlPlane(seen.facts), problem: '', up: toWireDuration(upMs) }
    : { url, controlPlane: undefined, problem: seen.problem, up: undefined };
}

function asDataplaneStatus(record: FleetRecord, nowMs: number | undefined): DataplaneStatus {
  const { key, incarnation, epoch, state, phase, replica, attempts, sinceMs, dueAtMs } = record;
  return {
    dataplane: key,
    incarnation,
    epoch,
    state,
    phase,
    replica: replica ?? '',
    since: between(sinceMs, nowMs),
    attempts,
    guard: record.guard ?? '',
    reason: record.reason ?? '',
    nextAttempt: between(nowMs, dueAtMs),
  };
}

function asSidelined(
  { key, stage, reason, beganAtMs }: SideliningRecord,
  nowMs: number | undefined,
): Sidelined {
  return { dataplane: key, stage, reason, since: between(beganAtMs, nowMs) };
}

function between(fromMs: number | undefined, toMs: number | undefined): Duration | undefined {
  return fromMs === undefined || toMs === undefined ? undefined : toWireDuration(Math.max(0, toMs - fromMs));
}

/** Agents that are attached to this replica. */
function unwatched({ agents, search }: GetStatusDeps): readonly Unwatched[] {
  return [...agents].flatMap(({ introduction: { key } }) => {
    const { problem = '' } = search.watchfulness(describeKey(key)) ?? {};
    return problem === '' ? [] : [{ dataplane: key, reason: problem }];
  });
}

function asBrakeStatus({ releasedForMs, ...standing }: BrakeStanding): BrakeStatus {
  return {
    ...standing,
    releasedFor: releasedForMs === undefined ? undefined : toWireDuration(releasedForMs),
  };
}

function asDeparture(record: KnownDeparture): Departure {
  const { key, atMs, guard, ...rest } = record;
  return { ...rest, dataplane: key, guard: guard ?? '', at: new Date(atMs) };
}
