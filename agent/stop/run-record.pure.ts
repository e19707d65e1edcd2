import { describeExit } from '../child/exit-status.pure.ts';
import type { Confirmed, Deregistration, Input, Phase } from './phases.pure.ts';
import { crashDeadlines } from './stop-budget.pure.ts';
import { amendDeregistration, beginRecord, recordPhase, type StopRecord } from './stop-report.pure.ts';

/** The record of a run's inputs so far; immutable. */
export interface RunRecord {
  /** `undefined` before a stop. */
  readonly stop: StopRecord | undefined;
  /** How often a stop was requested. */
  readonly asked: number;
  /** In the order in which they were answered. */
  readonly deregistrations: readonly Deregistration[];
  /** When the peers of the deleted object have been informed. */
  readonly settledAtMs: number;
  /** The object may exist: the agent has put it, or an Envoy connected. */
  readonly registered: boolean;
  readonly confirmed: Confirmed | undefined;
  /** kuma-dp had to be killed after it was told to end. */
  readonly killed: boolean;
}

export const EMPTY_RECORD: RunRecord = {
  stop: undefined,
  asked: 0,
  deregistrations: [],
  settledAtMs: Number.NEGATIVE_INFINITY,
  registered: false,
  confirmed: undefined,
  killed: false,
};

export interface RecordedStep {
  readonly before: Phase;
  readonly input: Input;
  readonly after: Phase;
  /** On the monotonic clock. */
  readonly atMs: number;
}

/** Adds an input and, if it has led to another phase, the end of the phase before. */
export function recordStep(record: RunRecord, { before, input, after, atMs }: RecordedStep): RunRecord {
  const known = { ...record, ...learn(record, before, input) };
  if (after.name === before.name || known.stop === undefined) return known;
  const ended = endOf(known, before, input);
  return { ...known, killed: false, stop: recordPhase(known.stop, after.name, { atMs, ...ended }) };
}

function learn(record: RunRecord, before: Phase, input: Input): Partial<RunRecord> {
  switch (input.type) {
    case 'registered':
    case 'envoy-seen':
      return { registered: true };
    case 'stop-requested':
      return {
        asked: record.asked + 1,
        stop: record.stop ?? beginRecord(`signal ${input.signal}`, input.deadlines),
      };
    case 'child-exited':
      return { stop: record.stop ?? beginRecord('kuma-dp exited', crashDeadlines(input.atMs)) };
    case 'spawn-failed':
      return record.registered ? { stop: beginRecord('kuma-dp could not be started', input.deadlines) } : {};
    case 'deregistered':
      return learnAnswer(record, before, input);
    case 'deleted-again':
      return { settledAtMs: input.atMs + input.settleMs };
    case 'timer-fired':
      return input.timer === 'kill' && before.name === 'exiting' ? { killed: true } : {};
    case 'confirmed':
      return before.name === 'confirming' ? { confirmed: input.confirmed } : {};
    case 'spawned':
    case 'standby-requested':
    case 'drained':
      return {};
  }
}

function learnAnswer(
  { stop, deregistrations }: RunRecord,
  before: Phase,
  input: Extract<Input, { type: 'deregistered' }>,
): Partial<RunRecord> {
  const { outcome, atMs, settleMs } = input;
  const isLate = stop !== undefined && before.name !== 'deregistering';
  return {
    deregistrations: [...deregistrations, { outcome, ...detailOf(input) }],
    settledAtMs: atMs + settleMs,
    ...(isLate ? { stop: amendDeregistration(stop, { atMs, outcome, detail: detailOf(input) }) } : {}),
  };
}

interface StepEnd {
  readonly outcome: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** The report's word for how the step before this input ended. */
function endOf({ killed }: RunRecord, before: Phase, input: Input): StepEnd {
  switch (input.type) {
    case 'deregistered':
      return before.name === 'deregistering'
        ? { outcome: input.outcome, detail: detailOf(input) }
        : { outcome: 'done' };
    case 'timer-fired':
      return { outcome: input.timer === 'kill' ? 'killed' : 'time is up' };
    case 'child-exited':
      return { outcome: killed ? 'killed' : describeExit(input.exit) };
    case 'drained':
      return { outcome: input.outcome, ...(input.held.length === 0 ? {} : { detail: { held: input.held } }) };
    case 'confirmed': {
      const { outcome, reason } = input.confirmed ?? { outcome: 'skipped' };
      return { outcome, ...(reason === undefined ? {} : { detail: { reason } }) };
    }
    case 'stop-requested':
      return { outcome: 'hurried' };
    case 'spawn-failed':
      return { outcome: 'spawn failed' };
    case 'registered':
    case 'spawned':
    case 'envoy-seen':
    case 'standby-requested':
    case 'deleted-again':
      return { outcome: '' };
  }
}

function detailOf({
  reason,
  endpoint,
  attempts,
}: Omit<Deregistration, 'outcome'>): Omit<Deregistration, 'outcome'> {
  return { reason, endpoint, attempts };
}
