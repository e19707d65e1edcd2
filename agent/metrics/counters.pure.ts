import * as z from 'zod/mini';

import type { Deregistration } from '../stop/phases.pure.ts';
import type { StepReport, StopReport } from '../stop/stop-report.pure.ts';

/** `signal`: a stop was requested. `crash`: kuma-dp ended by itself. `killed`: the agent itself was; the next run says so. */
export const STOP_CAUSES = ['signal', 'crash', 'killed'] as const;
/**
 * `none`: there was nothing to deregister, or the object was to stay. `unknown`: the agent died before it could say.
 */
export const STOP_OUTCOMES = ['gone', 'kept', 'handed_over', 'failed', 'none', 'unknown'] as const;
export const RESULTS = ['deleted', 'already_gone', 'kept', 'handed_over', 'failed'] as const;
export const STEPS: readonly StepReport['step'][] = ['deregister', 'settle', 'drain', 'exit', 'confirm'];

export type StopCause = (typeof STOP_CAUSES)[number];
export type StopOutcome = (typeof STOP_OUTCOMES)[number];
export type DeregistrationResult = (typeof RESULTS)[number];

/** Upper bounds of buckets, in seconds, from a DELETE over a warm connection to a whole drain. */
export const STEP_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;
/** From the stop of an idle dataplane to beyond the default budget. */
export const STOP_BOUNDS = [0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120] as const;

const count = z.number().check(z.gte(0));

/** The number of durations in each bucket; the last count is of durations above every bound. */
function distribution(bounds: readonly number[]) {
  return z.object({ counts: z.array(count).check(z.length(bounds.length + 1)), sumSeconds: count });
}

const StopDurations = distribution(STOP_BOUNDS);
const StepDurations = distribution(STEP_BOUNDS);
export type Distribution = z.infer<typeof StopDurations>;

/** The counters of all runs of one dataplane on this host: each run continues those of the run before. */
export const Counters = z.object({
  schema: z.literal(1),
  /** A run is in progress. If the next run finds this mark, this run's agent was killed. */
  open: z.boolean(),
  stops: z.array(z.object({ cause: z.enum(STOP_CAUSES), outcome: z.enum(STOP_OUTCOMES), count })),
  budgetsExceeded: count,
  stopDurations: StopDurations,
  stepDurations: z.record(z.string(), StepDurations),
  /** `url` is empty where no endpoint had an answer. */
  deregistrations: z.array(z.object({ url: z.string(), result: z.enum(RESULTS), count })),
  recreationsUndone: count,
  startsPaced: count,
  pacedSeconds: count,
});
export type Counters = z.infer<typeof Counters>;

export const NO_COUNTERS: Counters = {
  schema: 1,
  open: true,
  stops: [],
  budgetsExceeded: 0,
  stopDurations: none(STOP_BOUNDS),
  stepDurations: Object.fromEntries(STEPS.map((step) => [step, none(STEP_BOUNDS)])),
  deregistrations: [],
  recreationsUndone: 0,
  startsPaced: 0,
  pacedSeconds: 0,
};

export function countStop(counters: Counters, report: StopReport): Counters {
  const { cause, leftMs, totalMs, steps } = report;
  const counted = {
    ...counters,
    stops: increment(counters.stops, { cause: causeOf(cause), outcome: outcomeOf(steps) }),
    budgetsExceeded: counters.budgetsExceeded + (leftMs === 0 ? 1 : 0),
    stopDurations: observe(counters.stopDurations, STOP_BOUNDS, totalMs),
  };
  return steps.reduce(
    (so, { step, durationMs }) => ({
      ...so,
      stepDurations: {
        ...so.stepDurations,
        [step]: observe(so.stepDurations[step] ?? none(STEP_BOUNDS), STEP_BOUNDS, durationMs),
      },
    }),
    counted,
  );
}

export function countDeregistration(counters: Counters, deregistration: Deregistration): Counters {
  const { endpoint: url = '' } = deregistration;
  const counted = increment(counters.deregistrations, { url, result: resultOf(deregistration) });
  return { ...counters, deregistrations: counted };
}

export function countRecreation(counters: Counters): Counters {
  return { ...counters, recreationsUndone: counters.recreationsUndone + 1 };
}

export function countPacing(counters: Counters, waitMs: number): Counters {
  const { startsPaced, pacedSeconds } = counters;
  return { ...counters, startsPaced: startsPaced + 1, pacedSeconds: pacedSeconds + waitMs / 1_000 };
}

/**
 * Continues the counters of the previous run.
 *
 * @param urls the endpoints of this run: counts for other endpoints are dropped, so that there are never more series
 *   than endpoints
 */
export function goOnFrom(previous: Counters, now: Counters, urls: readonly string[]): Counters {
  const killed: Counters['stops'] = previous.open ? [{ cause: 'killed', outcome: 'unknown', count: 1 }] : [];
  const known = previous.deregistrations.filter(({ url }) => url === '' || urls.includes(url));
  return {
    schema: 1,
    open: now.open,
    stops: [...killed, ...now.stops].reduce(addTo, previous.stops),
    budgetsExceeded: previous.budgetsExceeded + now.budgetsExceeded,
    stopDurations: add(previous.stopDurations, now.stopDurations),
    stepDurations: Object.fromEntries(
      STEPS.map((step) => [step, add(previous.stepDurations[step], now.stepDurations[step])]),
    ),
    deregistrations: now.deregistrations.reduce(addTo, known),
    recreationsUndone: previous.recreationsUndone + now.recreationsUndone,
    startsPaced: previous.startsPaced + now.startsPaced,
    pacedSeconds: previous.pacedSeconds + now.pacedSeconds,
  };
}

function causeOf(cause: string): StopCause {
  return cause.startsWith('signal') ? 'signal' : 'crash';
}

function outcomeOf(steps: readonly StepReport[]): StopOutcome {
  switch (steps.find(({ step }) => step === 'deregister')?.outcome) {
    case 'gone':
      return 'gone';
    case 'kept':
      return 'kept';
    case 'handed over':
      return 'handed_over';
    case undefined:
      return 'none';
    default:
      return 'failed';
  }
}

function resultOf({ outcome, reason }: Deregistration): DeregistrationResult {
  switch (outcome) {
    case 'gone':
      return reason === 'deleted' ? 'deleted' : 'already_gone';
    case 'kept':
      return 'kept';
    case 'handed over':
      return 'handed_over';
    case 'failed':
      return 'failed';
  }
}

type Counted<Labels> = Labels & { readonly count: number };

function increment<Labels extends object>(
  counts: readonly Counted<Labels>[],
  labels: Labels,
): Counted<Labels>[] {
  return addTo(counts, { ...labels, count: 1 });
}

/** Adds `more` to the entry with the same labels, or appends it if there is none. */
function addTo<Labels extends object>(
  counts: readonly Counted<Labels>[],
  more: Counted<Labels>,
): Counted<Labels>[] {
  const isSame = (each: Counted<Labels>): boolean =>
    Object.entries(more).every(
      ([label, value]) => label === 'count' || each[label as keyof Counted<Labels>] === value,
    );
  if (!counts.some(isSame)) return [...counts, more];
  return counts.map((each) => (isSame(each) ? { ...each, count: each.count + more.count } : each));
}

function none(bounds: readonly number[]): Distribution {
  return { counts: [...bounds.map(() => 0), 0], sumSeconds: 0 };
}

function observe(
  { counts, sumSeconds }: Distribution,
  bounds: readonly number[],
  durationMs: number,
): Distribution {
  const seconds = durationMs / 1_000;
  const above = bounds.findIndex((bound) => seconds <= bound);
  const bucket = above === -1 ? bounds.length : above;
  return {
    counts: counts.map((before, at) => (at === bucket ? before + 1 : before)),
    sumSeconds: sumSeconds + seconds,
  };
}

function add(
  a: Distribution = { counts: [], sumSeconds: 0 },
  b: Distribution = { counts: [], sumSeconds: 0 },
): Distribution {
  const longer = a.counts.length > b.counts.length ? a.counts : b.counts;
  return {
    counts: longer.map((_, at) => (a.counts[at] ?? 0) + (b.counts[at] ?? 0)),
    sumSeconds: a.sumSeconds + b.sumSeconds,
  };
}
