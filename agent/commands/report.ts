import process from 'node:process';

import { describeError } from '../../kernel/errors.ts';
import { inJson, inLines } from '../../kernel/one-line.ts';
import { printOut } from '../../program/standard-output.ts';
import { writeError } from '../child/standard-streams.io.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { readBounded } from '../state/bounded-file.io.ts';
import { drawReports, readReports, summarise } from '../stop/report-drawing.pure.ts';
import type { ReportOptions } from '../options.ts';

/** How many stops are drawn; the percentiles are over all of them. */
const DRAWN = 20;
const NARROWEST = 60;
/** A report file is rotated at 1 MiB, by a run that has just written one more stop. */
const LARGEST_BYTES = 4 << 20;
const COLUMNS = 100;

/** The stops of a report file and of the one that was rotated before it. */
export function report({ reportFile, json }: ReportOptions, argument: string | undefined): ChildExit {
  const path = argument ?? reportFile;
  if (path === undefined) {
    writeError('name a file: kuma-dp-agent report FILE, or --report-file (KUMA_DP_AGENT_REPORT_FILE)');
    return { code: EXIT_CONFIG, signal: null };
  }
  try {
    const { reports, unreadable } = readReports(
      `${readIfThere(`${path}.1`)}${readBounded(path, LARGEST_BYTES)}`,
    );
    const summary = summarise(reports, unreadable);
    const last = reports.slice(-DRAWN);
    const width = Math.max(NARROWEST, process.stdout.isTTY ? process.stdout.columns : COLUMNS);
    const text = json
      ? inJson({ schema: 1, summary, reports })
      : reports.length === 0
        ? `"${path}" has no stop yet`
        : inLines(drawReports(last, summary, width).join('\n'));
    printOut(`${text}\n`);
    return { code: 0, signal: null };
  } catch (error) {
    writeError(`cannot read the report file: ${describeError(error)}`);
    return { code: 1, signal: null };
  }
}

function readIfThere(path: string): string {
  try {
    return readBounded(path, LARGEST_BYTES);
  } catch {
    return '';
  }
}
