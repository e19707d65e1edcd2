import { isObject } from '../../kernel/json.ts';

/** One step of a departure in the page's bar. */
export interface TimelineStep {
  readonly step: string;
  readonly startMs: number;
  readonly durationMs: number;
  readonly outcome: string;
}

/** The kept part of an agent's stop report. */
export interface StopTimeline {
  readonly totalMs: number;
  readonly steps: readonly TimelineStep[];
}

const MOST_STEPS = 8;
const LONGEST_MS = 24 * 3_600_000;
const LONGEST_WORD = 40;
const STEPS: ReadonlySet<string> = new Set(['deregister', 'settle', 'drain', 'exit', 'confirm']);

/**
 * The steps of an agent's stop report. Agents are not trusted: invalid steps are left out, and the result is small for
 * any input.
 *
 * @returns `undefined` if nothing of it can be drawn
 */
export function readStopTimeline(report: unknown): StopTimeline | undefined {
  if (!isObject(report) || !Array.isArray(report['steps'])) return undefined;
  const steps = report['steps'].slice(0, MOST_STEPS).flatMap(readStep);
  if (steps.length === 0) return undefined;
  const endsAtMs = Math.max(...steps.map(({ startMs, durationMs }) => startMs + durationMs));
  return { totalMs: Math.max(endsAtMs, readMs(report['totalMs']) ?? 0), steps };
}

function readStep(given: unknown): readonly TimelineStep[] {
  if (!isObject(given)) return [];
  const { step, outcome } = given;
  const startMs = readMs(given['startMs']);
  const durationMs = readMs(given['durationMs']);
  if (typeof step !== 'string' || !STEPS.has(step) || startMs === undefined || durationMs === undefined)
    return [];
  const said = typeof outcome === 'string' ? outcome.slice(0, LONGEST_WORD) : '';
  return [{ step, startMs, durationMs, outcome: said }];
}

function readMs(given: unknown): number | undefined {
  return typeof given === 'number' && given >= 0 && given <= LONGEST_MS ? given : undefined;
}
