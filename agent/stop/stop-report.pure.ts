import { describeExit, type ChildExit } from '../child/exit-status.pure.ts';
import type { Confirmed, Deregistration, DeregistrationOutcome, Phase } from './phases.pure.ts';
import type { StopDeadlines } from './stop-budget.pure.ts';

/** The report of one departure, as one JSON line. */
export interface StopReport {
  readonly schema: 1;
  /** RFC 3339, wall clock: for people, never for decisions. */
  readonly stoppedAt: string;
  readonly dataplane: string;
  readonly incarnation: string;
  readonly lifecycle: string;
  /** `signal SIGTERM`, or `kuma-dp exited`. */
  readonly cause: string;
  /** How often the stop was asked for. */
  readonly asked: number;
  readonly budgetMs: number;
  /** The rest of the budget at the end, never negative. */
  readonly leftMs: number;
  readonly totalMs: number;
  readonly steps: readonly StepReport[];
  readonly exit: ChildExit;
}

export interface StepReport {
  readonly step: 'deregister' | 'settle' | 'drain' | 'exit' | 'confirm';
  readonly startMs: number;
  readonly durationMs: number;
  /** The outcome: `gone`, `waited`, `quiet`, `timeout`, `killed`, … */
  readonly outcome: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

const STEP_OF_PHASE: Readonly<Record<Phase['name'], StepReport['step'] | undefined>> = {
  starting: undefined,
  running: undefined,
  deregistering: 'deregister',
  settling: 'settle',
  draining: 'drain',
  exiting: 'exit',
  confirming: 'confirm',
  stopped: undefined,
};

/** All dataplanes, in order. */
export const PHASE_NAMES = Object.keys(STEP_OF_PHASE) as readonly Phase['name'][];

/** Collects the steps of one stop while they happen; immutable. */
export interface StopRecord {
  readonly cause: string;
  readonly deadlines: StopDeadlines;
  readonly open: { readonly step: StepReport['step']; readonly sinceMs: number } | undefined;
  readonly steps: readonly StepReport[];
}

export function beginRecord(cause: string, deadlines: StopDeadlines): StopRecord {
  return { cause, deadlines, open: undefined, steps: [] };
}

/** Closes the step of the phase that is left and opens that of the phase that is entered. */
export function recordPhase(
  record: StopRecord,
  entered: Phase['name'],
  change: {
    readonly atMs: number;
    readonly outcome: string;
    readonly detail?: Readonly<Record<string, unknown>>;
  },
): StopRecord {
  const { atMs, outcome, detail } = change;
  const { startedAtMs } = record.deadlines;
  const step = STEP_OF_PHASE[entered];
  const closed: readonly StepReport[] =
    record.open === undefined
      ? []
      : [
          {
            step: record.open.step,
            startMs: round(record.open.sinceMs - startedAtMs),
            durationMs: round(atMs - record.open.sinceMs),
            outcome,
            ...(detail === undefined ? {} : { detail }),
          },
        ];
  return {
    ...record,
    open: step === undefined ? undefined : { step, sinceMs: atMs },
    steps: [...record.steps, ...closed],
  };
}

/** The outcome of a deregistration that kuma-dp did not wait for. Its step overlaps the others. */
export function amendDeregistration(
  record: StopRecord,
  answer: {
    readonly atMs: number;
    readonly outcome: DeregistrationOutcome;
    readonly detail: Readonly<Record<string, unknown>>;
  },
): StopRecord {
  const { atMs, outcome, detail } = answer;
  const begun = record.steps.find(({ step }) => step === 'deregister');
  const startMs = begun?.startMs ?? 0;
  const durationMs = round(atMs - record.deadlines.startedAtMs - startMs);
  const step: StepReport = { step: 'deregister', startMs, durationMs, outcome, detail };
  const others = record.steps.filter((each) => each !== begun);
  return { ...record, steps: [step, ...others] };
}

export function finishReport(
  record: StopRecord,
  about: Pick<StopReport, 'stoppedAt' | 'dataplane' | 'incarnation' | 'lifecycle' | 'asked' | 'exit'> & {
    readonly atMs: number;
  },
): StopReport {
  const { atMs, ...rest } = about;
  const { startedAtMs, endsAtMs } = record.deadlines;
  return {
    schema: 1,
    ...rest,
    cause: record.cause,
    budgetMs: round(endsAtMs - startedAtMs),
    leftMs: Math.max(0, round(endsAtMs - atMs)),
    totalMs: round(atMs - startedAtMs),
    steps: record.steps,
  };
}

/** The report in one line, for the state file. */
function summariseStop(report: StopReport): {
  readonly stoppedAt: string;
  readonly cause: string;
  readonly totalMs: number;
  readonly outcome: string;
  readonly exit: string;
} {
  const { stoppedAt, cause, totalMs, steps, exit } = report;
  const outcome = steps.find(({ step }) => step === 'deregister')?.outcome ?? 'not deregistered';
  return { stoppedAt, cause, totalMs, outcome, exit: describeExit(exit) };
}

/** Facts that another process needs to finish the run of a killed agent. */
export type StateNote =
  | { readonly phase: 'leaving'; readonly deregistered: boolean }
  | {
      readonly phase: 'ended';
      readonly deregistered: boolean;
      /** The control plane never had an object of this run. */
      readonly neverStored: boolean;
      readonly lastStop?: ReturnType<typeof summariseStop>;
    }
  | { readonly phase: 'running'; readonly pid: number };

/**
 * The facts that a run leaves to other processes.
 *
 * @param deregistrations in the order in which they were answered
 * @param end `registered`: there may have been an object
 */
export function endNote(
  deregistrations: readonly Deregistration[],
  end: {
    readonly confirmed: Confirmed | undefined;
    readonly registered: boolean;
    readonly report: StopReport | undefined;
  },
): StateNote {
  const { confirmed, registered, report } = end;
  return {
    phase: 'ended',
    deregistered: isNothingLeft(deregistrations.at(-1), confirmed) ?? !registered,
    neverStored: deregistrations.length > 0 && deregistrations.every(foundNothing),
    ...(report === undefined ? {} : { lastStop: summariseStop(report) }),
  };
}

/** The last look decides: a restarted control plane may have created the object again. */
function isNothingLeft(
  last: Deregistration | undefined,
  confirmed: Confirmed | undefined,
): boolean | undefined {
  if (confirmed !== undefined) return confirmed.outcome === 'gone' || confirmed.outcome === 'deleted again';
  return last === undefined ? undefined : last.outcome !== 'failed';
}

/** If a second attempt finds nothing, the first one may have deleted the object and its answer was lost. */
function foundNothing({ outcome, reason, attempts }: Deregistration): boolean {
  return outcome === 'gone' && reason === 'already gone' && attempts === 1;
}

function round(valueMs: number): number {
  return Math.round(valueMs * 10) / 10;
}
