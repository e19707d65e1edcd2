import type { ChildExit } from '../child/exit-status.pure.ts';
import type {
  DeregistrationOutcome,
  Draining,
  Effect,
  Exiting,
  Input,
  Phase,
  Progress,
  Settling,
  Stopping,
} from './phases.pure.ts';
import { LAST_ATTEMPT_MS, type StopDeadlines } from './stop-budget.pure.ts';

/** What an input leads to. */
export interface Step {
  readonly phase: Phase;
  readonly effects: readonly Effect[];
}

export const HASTEN: Effect = { type: 'hasten-deregistration' };
export const GIVE_UP: Effect = { type: 'give-up-deregistration' };
export const DRAIN: Effect = { type: 'tell-child', stage: 'drain' };
export const END: Effect = { type: 'tell-child', stage: 'end' };
export const KILL: Effect = { type: 'tell-child', stage: 'kill' };
export const STANDBY: Effect = { type: 'tell-child', stage: 'standby' };

export function finish(exit: ChildExit): Step {
  return to({ name: 'stopped', exit }, { type: 'exit', exit });
}

export function to(phase: Phase, ...effects: readonly Effect[]): Step {
  return { phase, effects };
}

export function stay(phase: Phase): Step {
  return { phase, effects: [] };
}

/** From the deletion on, peers need this long, as far as the budget allows it. */
export function settle(
  { waitsEndAtMs }: StopDeadlines,
  { atMs, settleMs }: Extract<Input, { type: 'deregistered' }>,
): Effect {
  return { type: 'arm', timer: 'settle', atMs: Math.min(atMs + settleMs, waitsEndAtMs) };
}

/** kuma-dp has ended: what is tried now has only a moment left. */
export function lastAttempt(deadlines: StopDeadlines, atMs: number): Effect {
  const untilMs = Math.max(atMs + LAST_ATTEMPT_MS, deadlines.deregisterByMs);
  return { type: 'arm', timer: 'give-up', atMs: Math.min(untilMs, deadlines.endsAtMs) };
}

export function progressOf(outcome: DeregistrationOutcome): Progress {
  return outcome === 'gone' || outcome === 'kept' ? 'answered' : 'failed';
}

/** Nothing waits for peers before the object is gone, so a stop that settles was answered. */
export function withProgress(
  phase: Settling | Draining | Exiting,
): Stopping & { readonly progress: Progress } {
  return phase.name === 'settling' ? { ...phase, progress: 'answered' } : phase;
}
