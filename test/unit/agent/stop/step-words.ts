import type { ChildExit } from '../../../../agent/child/exit-status.pure.ts';
import { INITIAL_PHASE, step } from '../../../../agent/stop/step.pure.ts';
import type {
  DeregistrationOutcome,
  Effect,
  Input,
  Phase,
  Timer,
} from '../../../../agent/stop/phases.pure.ts';
import { crashDeadlines, divideBudget } from '../../../../agent/stop/stop-budget.pure.ts';

export const CLEAN: ChildExit = { code: 0, signal: null };
export const FAILED: ChildExit = { code: 1, signal: null };
export const KILLED: ChildExit = { code: null, signal: 'SIGKILL' };
export const TERMED: ChildExit = { code: null, signal: 'SIGTERM' };

/** With the default budget: deregister by 1.2 s, waits end at 52 s, kill at 58 s, end at 60 s. */
export const DEADLINES = divideBudget(0, 60_000);
const CRASH = crashDeadlines(0);

export const registered: Input = { type: 'registered' };
export const spawned: Input = { type: 'spawned' };
export const envoySeen: Input = { type: 'envoy-seen' };
export const stop: Input = { type: 'stop-requested', signal: 'SIGTERM', deadlines: DEADLINES };
export const standbyAsked: Input = { type: 'standby-requested', deregisterByMs: 5_000 };
export const drained: Input = { type: 'drained', outcome: 'quiet', held: [] };
export const confirmed: Input = { type: 'confirmed', confirmed: { outcome: 'gone' } };
export const fired = (timer: Timer): Input => ({ type: 'timer-fired', timer });
export const exited = (exit: ChildExit): Input => ({
  type: 'child-exited',
  exit,
  atMs: 200,
  deadlines: CRASH,
});
export const exitedAndKept = (exit: ChildExit): Input => ({
  type: 'child-exited',
  exit,
  atMs: 200,
  deadlines: undefined,
});
export const spawnFailed = (exit: ChildExit): Input => ({ type: 'spawn-failed', exit, deadlines: CRASH });
export const deregistered = (outcome: DeregistrationOutcome, atMs = 100): Input => ({
  type: 'deregistered',
  outcome,
  reason: 'deleted',
  endpoint: 'https://cp:5682',
  attempts: 1,
  settleMs: 2_250,
  atMs,
});
export const deletedAgain: Input = { type: 'deleted-again', settleMs: 2_250, atMs: 100 };

export const cancelStart: Effect = { type: 'cancel-start' };
export const deregister: Effect = { type: 'deregister', byMs: 58_000 };
export const deregisterForStandby: Effect = { type: 'deregister', byMs: 5_000 };
export const deregisterRequested: Effect = { type: 'deregister', byMs: 1_200 };
export const deregisterCrashed: Effect = { type: 'deregister', byMs: 700 };
export const hasten: Effect = { type: 'hasten-deregistration' };
export const giveUp: Effect = { type: 'give-up-deregistration' };
export const armKill: Effect = { type: 'arm', timer: 'kill', atMs: 58_000 };
const armDeregister: Effect = { type: 'arm', timer: 'deregister', atMs: 1_200 };
export const armGiveUp: Effect = { type: 'arm', timer: 'give-up', atMs: 1_200 };
export const armDrain: Effect = { type: 'arm', timer: 'drain', atMs: 52_000 };
export const armSettle: Effect = { type: 'arm', timer: 'settle', atMs: 2_350 };
export const watchUsers: Effect = { type: 'watch-users' };
export const watchDrain: Effect = { type: 'watch-drain' };
export const confirm: Effect = { type: 'confirm', byMs: 60_000 };
export const tell = (stage: 'drain' | 'end' | 'kill' | 'standby'): Effect => ({ type: 'tell-child', stage });
export const exit = (as: ChildExit): Effect => ({ type: 'exit', exit: as });

/** The effects of a stop up to each phase, so that a row has only its own. */
export const BEGIN = [deregister, watchUsers, armDeregister, armKill];
export const DRAIN = [tell('drain'), watchDrain, armDrain];
export const serving = [spawned, envoySeen];

export interface StepRow {
  readonly name: string;
  readonly inputs: readonly Input[];
  readonly effects: readonly Effect[];
  readonly ends: Phase;
}

export function follow(inputs: readonly Input[]): {
  readonly effects: readonly Effect[];
  readonly ends: Phase;
} {
  const effects: Effect[] = [];
  let phase: Phase = INITIAL_PHASE;
  for (const input of inputs) {
    const next = step(phase, input);
    effects.push(...next.effects);
    phase = next.phase;
  }
  return { effects, ends: phase };
}

export function stopped(as: ChildExit): Phase {
  return { name: 'stopped', exit: as };
}
