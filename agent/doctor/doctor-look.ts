import { systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import type { Finding } from '../../kernel/findings.ts';

export const CHECK_BUDGET_MS = 3_000;

/** One look at something outside, which may hang. */
export function bounded<T>(action: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return withDeadline({ clock: systemClock, action, budgetMs: CHECK_BUDGET_MS }, ({ signal }) => ask(signal));
}

/** What is forbidden to this user may be open to the agent's. */
export function mayBeMe(error: unknown): 'unseen' | 'failure' {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'EACCES' ? 'unseen' : 'failure';
}

/** What was found by settings that may be others than the agent's: it is no reason for alarm, and none for calm. */
export function doubted(findings: readonly Finding[]): readonly Finding[] {
  return findings.map((finding) =>
    finding.level === 'warning' || finding.level === 'failure' ? { ...finding, level: 'unseen' } : finding,
  );
}
