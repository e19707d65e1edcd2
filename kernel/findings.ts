/** One finding of a doctor. */
export interface Finding {
  /** `unseen`: the doctor could not look at it, so it is neither fine nor wrong. */
  readonly level: 'ok' | 'unseen' | 'warning' | 'failure';
  readonly about: string;
  readonly says: string;
  /** What to do about it. */
  readonly remedy?: string;
}

const MARKS: Readonly<Record<Finding['level'], string>> = {
  ok: 'ok  ',
  unseen: '?   ',
  warning: 'WARN',
  failure: 'FAIL',
};

/** Text for people: one line for each finding, with the remedy below. */
export function describeFindings(findings: readonly Finding[]): string {
  const lines = findings.map(
    ({ level, about, says, remedy }) =>
      `${MARKS[level]} ${about}: ${says}${remedy === undefined ? '' : `\n     ${remedy}`}`,
  );
  return `${lines.join('\n')}\n`;
}

/** 0: nothing to do. 1: warnings. 2: failures. */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some(({ level }) => level === 'failure')) return 2;
  return findings.some(({ level }) => level === 'warning') ? 1 : 0;
}
