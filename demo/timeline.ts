const MILESTONES = [
  'object gone',
  'out of endpoints',
  'stopped',
  'serving again',
  'back in endpoints',
] as const;

export type MilestoneName = (typeof MILESTONES)[number];

export interface Milestone {
  readonly what: MilestoneName;
  /** Since what the row counts from. */
  readonly atMs: number;
}

export interface Failures {
  readonly failed: number;
  readonly sent: number;
}

/** Where a side says what happened to it. */
export interface Notes {
  readonly reach: (milestone: Milestone) => void;
  /** What is no milestone, or did not come about: `still there after 40 s`. */
  readonly say: (text: string, atMs: number) => void;
  readonly fail: (failures: Failures) => void;
}

interface Row {
  readonly title: string;
  readonly reached: Milestone[];
  outcome: string | undefined;
  failures: Failures | undefined;
}

const TITLE_WIDTH = 36;
const HEADINGS: readonly (readonly [string, string])[] = [
  ['object', 'gone'],
  ['out of', 'endpoints'],
  ['', 'stopped'],
  ['serving', 'again'],
  ['back in', 'endpoints'],
  ['failed', 'requests'],
];
const COLUMN_WIDTH = 11;

/** Prints milestones of several sides: line by line as they come, then all of them as a table, one row each. */
export class DemoTimeline {
  readonly #rows: Row[] = [];

  /** Adds a row. */
  notes(title: string): Notes {
    const row: Row = { title, reached: [], outcome: undefined, failures: undefined };
    this.#rows.push(row);
    const line = (atMs: number, text: string): void => {
      console.log(`${seconds(atMs).padStart(9)}  ${title.padEnd(TITLE_WIDTH)}${text}`);
    };
    return {
      reach: (milestone) => {
        row.reached.push(milestone);
        line(milestone.atMs, milestone.what);
      },
      say: (text, atMs) => {
        row.outcome = text;
        line(atMs, text);
      },
      fail: (failures) => {
        row.failures = failures;
      },
    };
  }

  /** The table. */
  print(): void {
    for (const part of [0, 1] as const)
      printRow(
        '',
        HEADINGS.map((heading) => heading[part]),
      );
    for (const row of this.#rows) printRow(row.title, cellsOf(row));
  }
}

/** An outcome takes the place of the milestones that it says did not come about. */
function cellsOf({ reached, outcome, failures }: Row): readonly string[] {
  const times = MILESTONES.map((what) => seconds(reached.find((one) => one.what === what)?.atMs));
  const requests = failures === undefined ? '–' : `${failures.failed} of ${failures.sent}`;
  if (reached.length > 0 || outcome === undefined) return [...times, requests];
  const spanned = Math.ceil((outcome.length + 1) / COLUMN_WIDTH);
  return [outcome.padEnd(spanned * COLUMN_WIDTH), ...times.slice(spanned), requests];
}

function printRow(title: string, cells: readonly string[]): void {
  const padded = cells.map((cell) => cell.padEnd(COLUMN_WIDTH));
  console.log(`${title.padEnd(TITLE_WIDTH)}${padded.join('')}`.trimEnd());
}

function seconds(atMs: number | undefined): string {
  return atMs === undefined ? '–' : `${(atMs / 1_000).toFixed(2)} s`;
}
