import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

import { VERSION } from '../../kernel/version.ts';
import { GUARDS, type Guard } from '../evidence/guards.pure.ts';
import { CAUSES, type Cause, type DepartureOutcome, type RecordState } from '../records.pure.ts';
import type { RecordTotals } from '../record-totals.pure.ts';
import { SCOPES, type Scope } from '../../kernel/bounds.ts';
import { RESOURCES, type Resource } from '../resources.pure.ts';
import type { AnswerStanding } from '../witness/questions.ts';
import { CONNECTION_LIMITS, type ConnectionCounts, type ConnectionLimit } from './connection-limits.io.ts';

/** The companion's metrics. */
export type Metrics = ReturnType<typeof createMetrics>;

const TOKEN_REJECTIONS = ['unauthenticated', 'permission-denied'] as const;
export type TokenRejection = (typeof TOKEN_REJECTIONS)[number];

type Instruments = ReturnType<typeof instruments>;

const PREFIX = 'kuma_deregistrar_';
const STATES: readonly RecordState[] = ['attached', 'unseen', 'lost', 'leaving', 'swept'];
const OUTCOMES: readonly DepartureOutcome[] = ['deleted', 'already gone', 'refused', 'superseded'];
const EVERY_CAUSE: readonly Cause[] = Object.values(CAUSES);
const EVERY_GUARD = Object.keys(GUARDS) as readonly Guard[];
/** From a fast commit to the deadline of its caller. */
const STORE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const ANSWERS: readonly AnswerStanding[] = ['reached', 'refused', 'silent', 'unable', 'late', 'unasked'];
/** From a host whose kernel refuses at once to one that fell silent. */
const SIDELINED_SECONDS = [0.5, 1, 1.5, 2, 2.5, 3, 5, 7.5, 10, 15, 30, 60, 120];
/** From one quick DELETE to a control plane that was away for minutes. */
const DEREGISTER_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Adds the companion's metrics to `registry`. Once for each registry. */
export function createMetrics(registry: Registry) {
  const make = instruments(registry);
  return {
    ...dataplaneMetrics(make),
    ...departureMetrics(make),
    ...surroundingMetrics(make),
    ...witnessMetrics(make),
    ...serverMetrics(make),
  };
}

function dataplaneMetrics({ counter, gauge }: Instruments) {
  gauge('build_info', 'The running version', ['version']).set({ version: VERSION }, 1);
  const dataplanes = gauge('dataplanes', "Dataplanes in the companion's store", ['state']);
  const held = gauge('departures_held', 'Departures that a guard holds back', ['guard']);
  const braked = gauge('brake_held', 'Deletions that the brake holds back', ['mesh']);
  const oldest = gauge('departure_oldest_timestamp_seconds', 'When the oldest open departure began', [
    'state',
  ]);
  const zone = gauge('zone_dataplanes', 'Dataplanes of the zone, by whether they have a stream', ['stream']);
  const agents = gauge('agents', 'Agents that are attached to this replica', ['version']);
  const unrecorded = gauge('departures_unrecorded', 'Requested departures that are in memory only', []);
  const healed = counter('healed_total', 'Objects of living dataplanes that were put back', []);
  return {
    /** @param totals `undefined` while the store is away: then there is no value, rather than an old one */
    records: (totals: RecordTotals | undefined): void => {
      for (const metric of [dataplanes, held, braked, oldest]) metric.reset();
      if (totals === undefined) return;
      for (const state of STATES) dataplanes.set({ state }, totals.byState[state]);
      for (const guard of EVERY_GUARD) held.set({ guard }, totals.heldByGuard.get(guard) ?? 0);
      for (const [mesh, count] of totals.brakedByMesh) braked.set({ mesh }, count);
      for (const [state, sinceMs] of totals.oldestMs) oldest.set({ state }, sinceMs / 1_000);
    },
    /** @param size `undefined` before the first listing */
    zoneSize: (size: { readonly online: number; readonly offline: number } | undefined): void => {
      zone.reset();
      if (size === undefined) return;
      zone.set({ stream: 'online' }, size.online);
      zone.set({ stream: 'offline' }, size.offline);
    },
    agents: (byVersion: ReadonlyMap<string, number>): void => {
      agents.reset();
      for (const [version, count] of byVersion) agents.set({ version }, count);
    },
    unrecorded: (count: number): void => {
      unrecorded.set(count);
    },
    healed: (): void => {
      healed.inc();
    },
  };
}

function departureMetrics({ counter, histogram }: Instruments) {
  const deletions = counter('deletions_total', 'Departures that ended', ['cause', 'result']);
  const refusals = counter('guard_refusals_total', 'Deletions that a guard held back', ['guard', 'cause']);
  const retries = counter('retries_total', 'Deletion attempts that are repeated', []);
  const deregister = histogram('deregister_seconds', 'From a requested departure to its end', {
    labelNames: [],
    buckets: DEREGISTER_SECONDS,
  });
  // Adds zeros for events that have not happened yet, so that the first one is an increase.
  for (const cause of EVERY_CAUSE) {
    for (const outcome of OUTCOMES) deletions.inc({ cause, result: word(outcome) }, 0);
    for (const guard of EVERY_GUARD) refusals.inc({ guard, cause }, 0);
  }
  return {
    departed: (cause: Cause, result: DepartureOutcome): void => {
      deletions.inc({ cause, result: word(result) });
    },
    guardRefused: (guard: Guard, cause: Cause): void => {
      refusals.inc({ guard, cause });
    },
    retried: (): void => {
      retries.inc();
    },
    deregistered: (tookMs: number): void => {
      deregister.observe(tookMs / 1_000);
    },
  };
}

function surroundingMetrics({ gauge, histogram }: Instruments) {
  const storeUp = gauge('store_up', 'Whether the store answers', []);
  const controlPlaneUp = gauge('control_plane_up', 'Whether a control plane answers', ['url']);
  const store = histogram('store_seconds', 'How long the store takes', {
    labelNames: ['operation'],
    buckets: STORE_SECONDS,
  });
  return {
    storeUp: (up: boolean): void => {
      storeUp.set(up ? 1 : 0);
    },
    storeAnswered: (operation: string, tookMs: number): void => {
      store.observe({ operation }, tookMs / 1_000);
    },
    /** @param url without credentials */
    controlPlaneUp: (url: string, up: boolean): void => {
      controlPlaneUp.set({ url }, up ? 1 : 0);
    },
  };
}

function witnessMetrics({ counter, gauge, histogram }: Instruments) {
  const suspects = gauge('suspects', 'Lost dataplanes that other agents are asked about', []);
  const sidelined = gauge('sidelined', 'Dataplanes that the companion has taken out of rotation', []);
  const testimonies = counter('testimonies_total', 'Answers of agents that were asked to look', ['result']);
  const sidelinings = histogram('sidelined_seconds', 'From a loss until the dataplane is out of rotation', {
    labelNames: [],
    buckets: SIDELINED_SECONDS,
  });
  const restored = counter('restored_total', 'Sidelined dataplanes that were put back', []);
  for (const result of ANSWERS) testimonies.inc({ result }, 0);
  return {
    suspects: (count: number): void => {
      suspects.set(count);
    },
    /** @param count `undefined` while the store is away */
    sidelined: (count: number | undefined): void => {
      if (count === undefined) sidelined.remove({});
      else sidelined.set(count);
    },
    testified: (result: AnswerStanding): void => {
      testimonies.inc({ result });
    },
    sidelinedAfter: (tookMs: number): void => {
      sidelinings.observe(tookMs / 1_000);
    },
    restored: (): void => {
      restored.inc();
    },
  };
}

function serverMetrics({ counter, gauge }: Instruments) {
  const connections = gauge('connections', 'Open connections of agents', ['state']);
  const refused = counter('connections_refused_total', 'Connections that a limit refused or ended', [
    'limit',
  ]);
  const callsRefused = counter('calls_refused_total', 'Calls over the limit of their caller', [
    'resource',
    'scope',
  ]);
  const held = gauge('calls_held', 'What callers use of each limit', ['resource']);
  const handshakes = counter('handshakes_failed_total', 'TLS handshakes that failed', []);
  const tokens = counter('tokens_rejected_total', 'Calls without a valid token', ['reason']);
  const expiry = gauge('certificate_expiry_timestamp_seconds', 'When the certificate of the server ends', []);
  // Without TLS there is no certificate; zero would mean expired.
  expiry.remove({});
  for (const reason of TOKEN_REJECTIONS) tokens.inc({ reason }, 0);
  for (const limit of CONNECTION_LIMITS) refused.inc({ limit }, 0);
  for (const resource of RESOURCES) for (const scope of SCOPES) callsRefused.inc({ resource, scope }, 0);
  return {
    connections: ({ authenticated, unauthenticated }: ConnectionCounts): void => {
      connections.set({ state: 'authenticated' }, authenticated);
      connections.set({ state: 'unauthenticated' }, unauthenticated);
    },
    connectionRefused: (limit: ConnectionLimit): void => {
      refused.inc({ limit });
    },
    callRefused: (resource: Resource, scope: Scope): void => {
      callsRefused.inc({ resource, scope });
    },
    callsHeld: (by: ReadonlyMap<Resource, number>): void => {
      for (const [resource, count] of by) held.set({ resource }, count);
    },
    handshakeFailed: (): void => {
      handshakes.inc();
    },
    tokenRejected: (reason: TokenRejection): void => {
      tokens.inc({ reason });
    },
    certificateExpires: (atMs: number): void => {
      expiry.set(atMs / 1_000);
    },
  };
}

function word(outcome: DepartureOutcome): string {
  return outcome.replaceAll(' ', '_');
}

/** The parts of a metric */
function instruments(registry: Registry) {
  const registers = [registry];
  return {
    counter: <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
      new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers }),
    gauge: <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
      new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers }),
    histogram: <Label extends string>(
      name: string,
      help: string,
      options: { readonly labelNames: readonly Label[]; readonly buckets: readonly number[] },
    ) =>
      new Histogram({
        name: `${PREFIX}${name}`,
        help,
        labelNames: options.labelNames,
        buckets: [...options.buckets],
        registers,
      }),
  };
}
