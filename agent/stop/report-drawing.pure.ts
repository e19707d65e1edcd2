import * as z from 'zod/mini';

import { formatDuration } from '../../kernel/duration.ts';
import { parseJson } from '../../kernel/json.ts';

const Step = z.looseObject({
  step: z.string(),
  startMs: z.number(),
  durationMs: z.number(),
  outcome: z.string(),
});
const Report = z.looseObject({
  schema: z.literal(1),
  stoppedAt: z.string(),
  dataplane: z.string(),
  cause: z.string(),
  totalMs: z.number(),
  budgetMs: z.number(),
  steps: z.array(Step),
});
/** The drawn part of a report. A report file may contain reports of other versions. */
export type DrawnReport = z.infer<typeof Report>;

export interface Percentiles {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

export interface ReportSummary {
  readonly stops: number;
  /** Lines of the file that are not reports. */
  readonly unreadable: number;
  /** The number of stops with each outcome of the deregistration. */
  readonly deregistrations: Readonly<Record<string, number>>;
  readonly total: Percentiles | undefined;
  readonly steps: Readonly<Record<string, Percentiles>>;
}

/** One letter of a bar per step, so that a bar can be read without colour. */
const LETTERS: Readonly<Record<string, string>> = {
  deregister: 'D',
  settle: 's',
  drain: '=',
  exit: 'x',
  confirm: 'c',
};
const UNKNOWN_LETTER = '?';
const MIN_BAR = 10;

export function readReports(text: string): {
  readonly reports: readonly DrawnReport[];
  readonly unreadable: number;
} {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const reports = lines.flatMap((line) => {
    const parsed = Report.safeParse(parseJson(line));
    return parsed.success ? [parsed.data] : [];
  });
  return { reports, unreadable: lines.length - reports.length };
}

export function summarise(reports: readonly DrawnReport[], unreadable: number): ReportSummary {
  const deregistrations: Record<string, number> = {};
  const durations = new Map<string, number[]>();
  for (const { steps } of reports) {
    const outcome = steps.find(({ step }) => step === 'deregister')?.outcome ?? 'not tried';
    deregistrations[outcome] = (deregistrations[outcome] ?? 0) + 1;
    for (const { step, durationMs } of steps)
      durations.set(step, [...(durations.get(step) ?? []), durationMs]);
  }
  const steps = [...durations].flatMap(([step, values]): [string, Percentiles][] => {
    const known = percentiles(values);
    return known === undefined ? [] : [[step, known]];
  });
  return {
    stops: reports.length,
    unreadable,
    deregistrations,
    total: percentiles(reports.map(({ totalMs }) => totalMs)),
    steps: Object.fromEntries(steps),
  };
}

/** By nearest rank: each is a measured duration. */
export function percentiles(values: readonly number[]): Percentiles | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const maxMs = sorted.at(-1);
  if (maxMs === undefined) return undefined;
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? maxMs;
  return { p50Ms: rank(0.5), p95Ms: rank(0.95), maxMs };
}

/**
 * The stops as bars on one scale, the last at the bottom, and the percentiles below.
 *
 * @param width columns of the terminal
 */
export function drawReports(
  reports: readonly DrawnReport[],
  summary: ReportSummary,
  width: number,
): readonly string[] {
  const heads = reports.map(({ stoppedAt, dataplane, totalMs }) => ({
    left: `${stoppedAt.slice(0, 19).replace('T', ' ')}  ${dataplane}`,
    right: formatDuration(Math.round(totalMs)),
  }));
  const left = Math.max(0, ...heads.map((head) => head.left.length));
  const right = Math.max(0, ...heads.map((head) => head.right.length));
  const longestMs = Math.max(1, ...reports.map(({ totalMs }) => totalMs));
  const columns = Math.max(MIN_BAR, width - left - right - 4);
  const bars = reports.map((report, at) => {
    const head = heads[at];
    const cells = drawBar(report, columns / longestMs).padEnd(columns);
    return `${head?.left.padEnd(left)}  ${cells}  ${head?.right.padStart(right)}${remark(report)}`;
  });
  const legend = Object.entries(LETTERS).map(([step, letter]) => `${letter} ${step}`);
  return [...bars, '', legend.join('   '), '', ...summaryLines(summary)];
}

/** A step that took place has at least one letter. */
function drawBar({ steps }: DrawnReport, columnsPerMs: number): string {
  let bar = '';
  for (const { step, startMs, durationMs } of steps) {
    const from = Math.max(bar.length, Math.round(startMs * columnsPerMs));
    const to = Math.max(from + 1, Math.round((startMs + durationMs) * columnsPerMs));
    bar = bar.padEnd(from).padEnd(to, LETTERS[step] ?? UNKNOWN_LETTER);
  }
  return bar;
}

/** Stops that need a person's attention. */
function remark({ steps, budgetMs, totalMs }: DrawnReport): string {
  const deregister = steps.find(({ step }) => step === 'deregister');
  const remarks = [
    ...(deregister?.outcome === 'failed' ? ['not deregistered'] : []),
    ...(deregister?.outcome === 'handed over' ? ['handed over'] : []),
    ...(steps.some(({ outcome }) => outcome === 'killed') ? ['killed'] : []),
    ...(totalMs > budgetMs ? ['over budget'] : []),
  ];
  return remarks.length === 0 ? '' : `  ! ${remarks.join(', ')}`;
}

function summaryLines({
  stops,
  unreadable,
  deregistrations,
  total,
  steps,
}: ReportSummary): readonly string[] {
  const outcomes = Object.entries(deregistrations).map(([outcome, count]) => `${outcome} ${count}`);
  const rows = Object.entries(total === undefined ? steps : { ...steps, total });
  return [
    `${stops} stops: ${outcomes.join(', ')}`,
    ...(unreadable === 0 ? [] : [`${unreadable} lines were not reports`]),
    '',
    `${''.padEnd(10)} ${['p50', 'p95', 'max'].map((name) => name.padStart(9)).join(' ')}`,
    ...rows.map(([step, { p50Ms, p95Ms, maxMs }]) => {
      const cells = [p50Ms, p95Ms, maxMs].map((ms) => formatDuration(Math.round(ms)).padStart(9));
      return `${step.padEnd(10)} ${cells.join(' ')}`;
    }),
  ];
}
