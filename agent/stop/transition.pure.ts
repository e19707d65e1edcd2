import type { ChildExit } from '../child/exit-status.pure.ts';
import type {
  DeregistrationOutcome,
  Draining,
  Effect,
  Exiting,
  Phase,
  Progress,
  SettleFrom,
  Settling,
  Stopping,
} from './phases.pure.ts';
import { LAST_ATTEMPT_MS, type StopDeadlines } from './stop-budget.pure.ts';

/** The result of an input. */
export interface PhaseStep {
  readonly phase: Phase;
  readonly effects: readonly Effect[];
}

export const HASTEN: Effect = { type: 'hasten-deregistration' };
export const GIVE_UP: Effect = { type: 'give-up-deregistration' };
const DRAIN: Effect = { type: 'tell-child', stage: 'drain' };
export const END: Effect = { type: 'tell-child', stage: 'end' };
export const WATCH_USERS: Effect = { type: 'watch-users' };
export const KILL: Effect = { type: 'tell-child', stage: 'kill' };
export const STANDBY: Effect = { type: 'tell-child', stage: 'standby' };

export function finish(exit: ChildExit): PhaseStep {
  return to({ name: 'stopped', exit }, { type: 'exit', exit });
}

export function to(phase: Phase, ...effects: readonly Effect[]): PhaseStep {
  return { phase, effects };
}

export function stay(phase: Phase): PhaseStep {
  return { phase, effects: [] };
}

/** How long peers need after the deletion, as far as the budget allows it. */
export function settle({ waitsEndAtMs }: StopDeadlines, { atMs, settleMs }: SettleFrom): Effect {
  return { type: 'arm', timer: 'settle', atMs: Math.min(atMs + settleMs, waitsEndAtMs) };
}

/** kuma-dp has ended: an attempt that still runs has only a moment left. */
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

/** A kuma-dp in standby ends at the first SIGTERM, so the agent sends it after the last request. */
export function drain(stop: Stopping & { readonly standby: boolean }, progress: Progress): PhaseStep {
  const { deadlines, asked, standby } = stop;
  const untilMs = deadlines.waitsEndAtMs;
  return to(
    { name: 'draining', deadlines, asked, progress },
    ...(standby ? [] : [DRAIN]),
    { type: 'watch-drain' },
    { type: 'arm', timer: 'drain', atMs: untilMs },
  );
}

export function end(
  { deadlines, asked, progress }: Stopping & { readonly progress: Progress },
  ...effects: readonly Effect[]
): PhaseStep {
  return to({ name: 'exiting', deadlines, asked, progress }, ...effects);
}
