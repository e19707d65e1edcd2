import type { Clock } from '../../../kernel/clock.ts';
import { OperationalError, describeError } from '../../../kernel/errors.ts';
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
import type { AttachedAgents } from '../../agents/attached-agents.ts';
import type { ReplicaHeartbeat } from '../../agents/replica-heartbeat.ts';
import type { BrakeGate } from '../../evidence/brake-gate.ts';
import type { BrakeStanding } from '../../evidence/brake.pure.ts';
import type { KnownDeparture, RecordSummary, SideliningRecord } from '../../records.pure.ts';
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

const DEPARTURES = 50;

/** Everything an operator asks first. What cannot be read now is left out and said so. */
export async function getStatus(deps: GetStatusDeps, { mesh }: GetStatusRequest): Promise<GetStatusResponse> {
  const { clock, agents, heartbeat, watch, replica, startedAtMs } = deps;
  const stored = await readStore(deps);
  const isWanted = ({ key }: { readonly key: { readonly mesh: string } }): boolean =>
    mesh === '' || key.mesh === mesh;
  return {
    version: VERSION,
    replica,
    up: toWireDuration(clock.monotonicMs() - startedAtMs),
    store: {
      kind: deps.store.kind,
      problem: 'problem' in stored ? stored.problem : (heartbeat.storeProblem ?? ''),
      replicas: [...heartbeat.replicas],
    },
    controlPlanes: watch.controlPlanes.map(asControlPlaneStatus),
    dataplanes:
      'problem' in stored
        ? [...agents].map(({ arrival, ...agent }) => asUnrecorded(arrival, agent))
        : stored.records.filter(isWanted).map((record) => asDataplaneStatus(record, stored.nowMs)),
    brakes: ('problem' in stored ? [] : stored.brakes).map(asBrakeStatus),
    departures: 'problem' in stored ? [] : stored.departures.filter(isWanted).map(asDeparture),
    sidelined:
      'problem' in stored
        ? []
        : stored.sidelinings.filter(isWanted).map((each) => asSidelined(each, stored.nowMs)),
    unwatched: unwatched(deps).filter(({ dataplane }) => mesh === '' || dataplane?.mesh === mesh),
  };
}

type Stored =
  | {
      readonly nowMs: number;
      readonly records: readonly RecordSummary[];
      readonly brakes: readonly BrakeStanding[];
      readonly departures: readonly KnownDeparture[];
      readonly sidelinings: readonly SideliningRecord[];
    }
  | { readonly problem: string };

async function readStore({ store, brakes }: GetStatusDeps): Promise<Stored> {
  try {
    const nowMs = await store.nowMs();
    return {
      nowMs,
      records: await store.records(),
      // The brake needs a control plane that answers.
      brakes: await brakes.standings().catch(() => []),
      departures: await store.departures({ limit: DEPARTURES }),
      sidelinings: await store.sidelinings(),
    };
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    return { problem: describeError(error) };
  }
}

function asControlPlaneStatus({ url, seen, upMs }: WatchedControlPlane): ControlPlaneStatus {
  return 'facts' in seen
    ? { url, controlPlane: asControlPlane(seen.facts), problem: '', up: toWireDuration(upMs) }
    : { url, controlPlane: undefined, problem: seen.problem, up: undefined };
}

function asDataplaneStatus(record: RecordSummary, nowMs: number): DataplaneStatus {
  const { key, incarnation, epoch, state, phase, replica, attempts, dueAtMs } = record;
  return {
    dataplane: key,
    incarnation,
    epoch,
    state,
    phase,
    replica: replica ?? '',
    since: toWireDuration(Math.max(0, nowMs - record.sinceMs)),
    attempts,
    guard: record.guard ?? '',
    reason: record.reason ?? '',
    nextAttempt: dueAtMs === undefined ? undefined : toWireDuration(Math.max(0, dueAtMs - nowMs)),
  };
}

function asUnrecorded(
  { key, incarnation }: Pick<RecordSummary, 'key' | 'incarnation'>,
  agent: { readonly epoch: number | undefined; readonly phase: string; readonly leaving: boolean },
): DataplaneStatus {
  return {
    dataplane: key,
    incarnation,
    epoch: agent.epoch ?? 0,
    state: agent.leaving ? 'leaving' : 'attached',
    phase: agent.phase,
    replica: '',
    since: undefined,
    attempts: 0,
    guard: '',
    reason: '',
    nextAttempt: undefined,
  };
}

function asSidelined({ key, stage, reason, beganAtMs }: SideliningRecord, nowMs: number): Sidelined {
  return { dataplane: key, stage, reason, since: toWireDuration(Math.max(0, nowMs - beganAtMs)) };
}

/** Of those that are attached here. */
function unwatched({ agents, search }: GetStatusDeps): readonly Unwatched[] {
  return [...agents].flatMap(({ arrival: { key } }) => {
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
