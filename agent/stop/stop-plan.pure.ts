import { formatDuration } from '../../kernel/duration.ts';
import { latestEndMs } from './hold.pure.ts';
import { divideBudget, LAST_ATTEMPT_MS } from './stop-budget.pure.ts';

/** The effect of a stop on the object: deleted, not reached, or left. */
export type Outlook = 'deletes' | 'fails' | 'keeps';

/** One step of a planned stop. */
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
  /** The operator's `--external-drain`, if it is longer. */
  readonly externalDrainMs?: number | undefined;
  readonly outlook: Outlook;
}

/** The steps of a stop, each with its latest end. */
export function planStop(input: StopPlanInput): readonly PlannedStep[] {
  const { budgetMs, settleMs, drainTimeMs, externalDrainMs, outlook } = input;
  const deadlines = divideBudget(0, budgetMs);
  const settledByMs = Math.min(deadlines.deregisterByMs + settleMs, deadlines.waitsEndAtMs);
  const settledAtMs = outlook === 'deletes' ? settledByMs : 0;
  const endMs = latestEndMs({ stopBeganAtMs: 0, settledAtMs, drainTimeMs, externalDrainMs });
  const drainBeginsMs = outlook === 'fails' ? deadlines.deregisterByMs : settledAtMs;
  const drainedByMs = Math.min(Math.max(drainBeginsMs, endMs), deadlines.waitsEndAtMs);
  const exitByMs = drainedByMs + (deadlines.killAtMs - deadlines.waitsEndAtMs);
  const killAt = formatDuration(Math.round(deadlines.killAtMs));
  const exit: PlannedStep = {
    step: 'exit',
    byMs: exitByMs,
    what: `second SIGTERM; SIGKILL at ${killAt} if kuma-dp still runs`,
  };
  switch (outlook) {
    case 'deletes':
      return [
        {
          step: 'deregister',
          byMs: deadlines.deregisterByMs,
          what: 'the object is deleted; usually within milliseconds',
        },
        { step: 'settle', byMs: settledByMs, what: 'Envoy serves until peers have dropped the endpoint' },
        { step: 'drain', byMs: drainedByMs, what: 'SIGTERM to kuma-dp; ends with the last request' },
        exit,
        {
          step: 'confirm',
          byMs: exitByMs + (deadlines.endsAtMs - deadlines.killAtMs),
          what: 'a look whether the object is still gone',
        },
      ];
    case 'fails':
      return [
        {
          step: 'deregister',
          byMs: deadlines.deregisterByMs,
          what: 'no endpoint deletes the object; the agent keeps trying while kuma-dp drains',
        },
        {
          step: 'drain',
          byMs: drainedByMs,
          what: 'SIGTERM to kuma-dp; Envoy serves for the full drain time, since no peer knows of the stop',
        },
        exit,
        {
          step: 'confirm',
          byMs: Math.min(exitByMs + LAST_ATTEMPT_MS, deadlines.endsAtMs),
          what: 'one more attempt to delete the object; it stays if that fails too',
        },
      ];
    case 'keeps':
      return [
        { step: 'drain', byMs: drainedByMs, what: 'SIGTERM to kuma-dp at once; the object stays' },
        exit,
      ];
  }
}

/** The timeline as `plan` prints it. */
export function describePlan(
  steps: readonly PlannedStep[],
): readonly (readonly [step: string, what: string])[] {
  return steps.map(({ step, byMs, what }) => [
    step,
    `by ${formatDuration(Math.round(byMs)).padEnd(8)} ${what}`,
  ]);
}
