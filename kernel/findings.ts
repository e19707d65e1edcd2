/** One thing that a doctor looked at. */
export interface Finding {
  /** `unseen`: it could not be looked at, which is no reason for alarm, but none for calm either. */
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

/** For people: one line each, its remedy below it. */
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
