import { Registry } from 'prom-client';

import { VERSION } from '../../kernel/version.ts';
import { counter, gauge, histogram, type Sample } from './given-metrics.io.ts';
import { isCompanion } from '../object/endpoint-url.pure.ts';
import { standingOf, type CountedRun, type DataplaneView } from './run-view.pure.ts';
import { LOOK_RESULTS } from '../../kernel/tcp-findings.ts';
import type { LookCounts } from '../witness/look-counts.pure.ts';
import { PHASE_NAMES } from '../stop/stop-report.pure.ts';
import {
  RESULTS,
  STEP_BOUNDS,
  STEPS,
  STOP_BOUNDS,
  STOP_CAUSES,
  STOP_OUTCOMES,
  type StopCause,
  type StopOutcome,
} from './counters.pure.ts';

export interface MetricsSource {
  /** Each metric calls this at a scrape. */
  readonly read: () => CountedRun;
  /** When the run began, ms since the epoch. */
  readonly startedAtMs: number;
}

const PREFIX = 'kuma_dp_agent_';
const ROTATION_STATES = ['in', 'turning out', 'out', 'turning in', 'standby'] as const;

/** The agent's metrics. Nothing is counted here: each scrape shows the state of the run. */
export function agentMetrics(source: MetricsSource): Registry {
  const registry = new Registry();
  const { read, startedAtMs } = source;
  standingMetrics(registry, read);
  dataplaneMetrics(registry, read);
  witnessMetrics(registry, read);
  stopMetrics(registry, read);
  startMetrics(registry, read);
  // Without the prefix: every program has it under this name.
  gauge(registry, { name: 'process_start_time_seconds', help: 'When the agent started' }, () => [
    [{}, startedAtMs / 1_000],
  ]);
  return registry;
}

function standingMetrics(registry: Registry, read: MetricsSource['read']): void {
  gauge(registry, { name: `${PREFIX}build_info`, help: 'The running version', labels: ['version'] }, () => [
    [{ version: VERSION }, 1],
  ]);
  gauge(registry, { name: `${PREFIX}phase`, help: 'The phase that the agent is in', labels: ['phase'] }, () =>
    PHASE_NAMES.map((phase) => [{ phase }, Number(phase === read().phase.name)]),
  );
  gauge(
    registry,
    { name: `${PREFIX}rotation`, help: 'Whether peers see the dataplane', labels: ['state'] },
    () => ROTATION_STATES.map((state) => [{ state: word(state) }, Number(state === standingOf(read()))]),
  );
  gauge(
    registry,
    { name: `${PREFIX}stop_budget_seconds`, help: 'Maximum duration of a stop' },
    (): readonly Sample[] => [[{}, read().stopBudgetMs / 1_000]],
  );
}

function dataplaneMetrics(registry: Registry, read: MetricsSource['read']): void {
  const known = (look: (dataplane: DataplaneView) => readonly Sample[]) => () => {
    const { dataplane } = read();
    return dataplane === undefined ? [] : look(dataplane);
  };
  gauge(
    registry,
    { name: `${PREFIX}dataplane_known`, help: 'Whether the agent knows which dataplane this is' },
    () => [[{}, Number(read().dataplane !== undefined)]],
  );
  gauge(
    registry,
    {
      name: `${PREFIX}dataplane_info`,
      help: 'Which dataplane the agent runs, and who owns its object',
      labels: ['mesh', 'name', 'proxy_type', 'lifecycle'],
    },
    known(({ key, owner }) => [
      [{ mesh: key.mesh, name: key.name, proxy_type: key.proxyType, lifecycle: owner }, 1],
    ]),
  );
  gauge(
    registry,
    {
      name: `${PREFIX}endpoint_up`,
      help: 'Whether the endpoint answered the last look',
      labels: ['url', 'kind'],
    },
    known(({ endpoints }) =>
      endpoints.flatMap(({ url, reachable }): readonly Sample[] =>
        reachable === undefined ? [] : [[{ url, kind: kindOf(url) }, Number(reachable)]],
      ),
    ),
  );
  gauge(
    registry,
    { name: `${PREFIX}companion_attached`, help: 'Whether a companion watches over the dataplane' },
    known(({ companion }) => (companion === undefined ? [] : [[{}, Number(companion.attached)]])),
  );
  gauge(
    registry,
    { name: `${PREFIX}companion_epoch`, help: 'The epoch that a companion gave to this incarnation' },
    known(({ companion }) => (companion?.epoch === undefined ? [] : [[{}, companion.epoch]])),
  );
  gauge(
    registry,
    { name: `${PREFIX}settle_seconds`, help: 'How long a stop waits until peers have dropped the endpoint' },
    known(({ settleMs }) => [[{}, settleMs / 1_000]]),
  );
}

function witnessMetrics(registry: Registry, read: MetricsSource['read']): void {
  const known = (look: (looks: LookCounts) => readonly Sample[]) => () => {
    const looks = read().dataplane?.looks;
    return looks === undefined ? [] : look(looks);
  };
  counter(
    registry,
    {
      name: `${PREFIX}looks_total`,
      help: 'Ports of other dataplanes that this agent connected to for the companion',
      labels: ['result'],
    },
    known((looks) => LOOK_RESULTS.map((result) => [{ result }, looks[result]])),
  );
  counter(
    registry,
    {
      name: `${PREFIX}looks_refused_total`,
      help: 'Looks that this agent refused to make: a forbidden address, or too many',
    },
    known(({ refusals }) => [[{}, refusals]]),
  );
}

function stopMetrics(registry: Registry, read: MetricsSource['read']): void {
  const counters = () => read().counters;
  counter(
    registry,
    {
      name: `${PREFIX}stops_total`,
      help: 'Stops, by what began them and what became of the object',
      labels: ['cause', 'outcome'],
    },
    () =>
      STOP_SERIES.map(([cause, outcome]) => [
        { cause, outcome },
        counters().stops.find((each) => each.cause === cause && each.outcome === outcome)?.count ?? 0,
      ]),
  );
  counter(
    registry,
    {
      name: `${PREFIX}stop_budgets_exceeded_total`,
      help: 'Stops that took longer than their budget',
    },
    () => [[{}, counters().budgetsExceeded]],
  );
  histogram(
    registry,
    { name: `${PREFIX}stop_duration_seconds`, help: 'From what began a stop to the end of the agent' },
    { bounds: STOP_BOUNDS, look: () => [[{}, counters().stopDurations]] },
  );
  histogram(
    registry,
    {
      name: `${PREFIX}stop_step_duration_seconds`,
      help: 'How long each step of a stop took',
      labels: ['step'],
    },
    {
      bounds: STEP_BOUNDS,
      look: () => STEPS.map((step) => [{ step }, counters().stepDurations[step]]),
    },
  );
  counter(
    registry,
    {
      name: `${PREFIX}deregistrations_total`,
      help: 'Deregistrations by the endpoint that answered; empty where they failed',
      labels: ['url', 'kind', 'result'],
    },
    () => deregistrationsOf(read()),
  );
  counter(
    registry,
    {
      name: `${PREFIX}recreations_undone_total`,
      help: 'Objects that were created again during a stop and deleted again',
    },
    () => [[{}, counters().recreationsUndone]],
  );
}

function startMetrics(registry: Registry, read: MetricsSource['read']): void {
  counter(
    registry,
    { name: `${PREFIX}restarts_paced_total`, help: 'Starts that waited until their name was accepted again' },
    () => [[{}, read().counters.startsPaced]],
  );
  counter(
    registry,
    { name: `${PREFIX}restart_pacing_seconds_total`, help: 'How long starts have waited in all' },
    () => [[{}, read().counters.pacedSeconds]],
  );
}

/** The possible values of a label. */
const STOP_SERIES = STOP_CAUSES.flatMap((cause) =>
  STOP_OUTCOMES.filter((outcome) => (cause === 'killed') === (outcome === 'unknown')).map(
    (outcome): readonly [StopCause, StopOutcome] => [cause, outcome],
  ),
);

/** Adds zeros for events that have not happened yet, so that the first one is an increase. */
function deregistrationsOf({ dataplane, counters }: CountedRun): readonly Sample[] {
  const urls = ['', ...(dataplane?.endpoints ?? []).map(({ url }) => url)];
  return urls.flatMap((url) =>
    RESULTS.filter((result) => canBe(url, result)).map((result): Sample => [
      { url, kind: kindOf(url), result },
      counters.deregistrations.find((each) => each.url === url && each.result === result)?.count ?? 0,
    ]),
  );
}

/** A kept object or a failure has no endpoint's answer, and the companion that takes over may be unknown. */
function canBe(url: string, result: (typeof RESULTS)[number]): boolean {
  if (result === 'handed_over') return true;
  return (result === 'kept' || result === 'failed') === (url === '');
}

function kindOf(url: string): string {
  if (url === '') return '';
  return isCompanion(new URL(url)) ? 'companion' : 'rest';
}

function word(text: string): string {
  return text.replaceAll(' ', '_');
}
