import { divideBudget } from './stop-budget.pure.ts';

/** One line of the timeline that a stop would have. */
export interface PlannedStep {
  readonly step: 'deregister' | 'settle' | 'drain' | 'exit' | 'confirm';
  /** Milliseconds since the first signal, at the latest. */
  readonly byMs: number;
  readonly what: string;
}

export interface StopPlanInput {
  readonly budgetMs: number;
  readonly settleMs: number;
  readonly drainTimeMs: number;
  readonly deregisters: boolean;
}

/** What a stop would do and by when at the latest. Each step begins as soon as the one before it is done. */
export function planStop({
  budgetMs,
  settleMs,
  drainTimeMs,
  deregisters,
}: StopPlanInput): readonly PlannedStep[] {
  const deadlines = divideBudget(0, budgetMs);
  const settledByMs = Math.min(deadlines.deregisterByMs + settleMs, deadlines.waitsEndAtMs);
  const drainBeginsMs = deregisters ? settledByMs : 0;
  const drainedByMs = Math.min(drainBeginsMs + drainTimeMs, deadlines.waitsEndAtMs);
  const exitByMs = drainedByMs + (deadlines.killAtMs - deadlines.waitsEndAtMs);
  return [
    ...(deregisters
      ? [
          {
            step: 'deregister' as const,
            byMs: deadlines.deregisterByMs,
            what: 'the object is deleted; usually within milliseconds',
          },
          { step: 'settle' as const, byMs: settledByMs, what: 'Envoy serves on until the peers have let go' },
        ]
      : []),
    { step: 'drain', byMs: drainedByMs, what: 'SIGTERM to kuma-dp; ends with the last request' },
    { step: 'exit', byMs: exitByMs, what: 'second SIGTERM; SIGKILL if nothing helps' },
    {
      step: 'confirm',
      byMs: exitByMs + (deadlines.endsAtMs - deadlines.killAtMs),
      what: 'a look whether the object is still gone',
    },
  ];
}
