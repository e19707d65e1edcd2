import { systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import type { Finding } from '../../kernel/findings.ts';

export const CHECK_BUDGET_MS = 3_000;

/** A look at an outside system, which may hang. */
export function bounded<T>(action: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return withDeadline({ clock: systemClock, action, budgetMs: CHECK_BUDGET_MS }, ({ signal }) => ask(signal));
}

/** The agent's user may be allowed what this user is not. */
export function mayBeMe(error: unknown): 'unseen' | 'failure' {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'EACCES' ? 'unseen' : 'failure';
}

/** A finding by settings that may differ from the agent's: neither fine nor wrong. */
export function doubted(findings: readonly Finding[]): readonly Finding[] {
  return findings.map((finding) =>
    finding.level === 'warning' || finding.level === 'failure' ? { ...finding, level: 'unseen' } : finding,
  );
}
