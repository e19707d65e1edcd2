const MILESTONES = [
  'object gone',
  'out of endpoints',
  'stopped',
  'serving again',
  'back in endpoints',
] as const;

export interface Milestone {
  readonly what: (typeof MILESTONES)[number];
  /** Since the restart began. */
  readonly atMs: number;
}

export interface Failures {
  readonly failed: number;
  readonly sent: number;
}

const LABEL_WIDTH = 20;
const COLUMN_WIDTH = 26;

/** Prints milestones of several runs, one column each: line by line as they come, then as a table. */
export class Timeline {
  readonly #titles: readonly string[];
  readonly #reached: Milestone[][];
  readonly #failures: (Failures | undefined)[];

  constructor(titles: readonly string[]) {
    this.#titles = titles;
    this.#reached = titles.map(() => []);
    this.#failures = titles.map(() => undefined);
  }

  begin(): void {
    this.#row('', this.#titles);
  }

  reach(column: number, milestone: Milestone): void {
    this.#reached[column]?.push(milestone);
    this.#row(seconds(milestone.atMs), this.#only(column, milestone.what));
  }

  fail(column: number, failures: Failures): void {
    this.#failures[column] = failures;
    this.#row('', this.#only(column, `${failures.failed} of ${failures.sent} requests failed`));
  }

  end(): void {
    console.log('');
    this.#row('', this.#titles);
    for (const what of MILESTONES) {
      this.#row(
        what,
        this.#reached.map((reached) => seconds(reached.find((one) => one.what === what)?.atMs)),
      );
    }
    this.#row(
      'failed requests',
      this.#failures.map((failures) =>
        failures === undefined ? '–' : `${failures.failed} of ${failures.sent}`,
      ),
    );
  }

  #only(column: number, text: string): readonly string[] {
    return this.#titles.map((_title, at) => (at === column ? text : ''));
  }

  #row(label: string, cells: readonly string[]): void {
    const padded = cells.map((cell) => cell.padEnd(COLUMN_WIDTH));
    console.log(`${label.padEnd(LABEL_WIDTH)}${padded.join('')}`.trimEnd());
  }
}

function seconds(atMs: number | undefined): string {
  return atMs === undefined ? '–' : `${(atMs / 1_000).toFixed(2)} s`;
}
