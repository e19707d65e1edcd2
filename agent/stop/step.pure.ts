import type { ChildExit } from '../child/exit-status.pure.ts';
import type {
  Confirming,
  Deregistering,
  Draining,
  Effect,
  Exiting,
  Input,
  Phase,
  Running,
  Settling,
  Starting,
  Stopping,
  Timer,
} from './phases.pure.ts';
import type { StopDeadlines } from './stop-budget.pure.ts';

/**
 * The agent's life as data. Nothing here performs I/O: {@link step} maps a phase and an input to the next phase plus
 * the effects that the supervisor must run, so every path is a row in a test.
 *
 * ```text
 * starting ──spawned──▶ running ──stop──▶ deregistering ──gone──▶ settling ──timer──▶ draining ──quiet──▶ exiting
 *    │                     │                    │                    │      SIGTERM      │   2nd SIGTERM     │
 *    │                     │                    └──────not gone──────┼─────────▶─────────┘                   │
 *    │                     │                                         └────────kuma-dp exits──────────────────┤
 *    │                     └──kuma-dp exits──▶ deregistering (its exit noted) ──────────────┐                ▼
 *    └──stop, or it cannot be spawned──────────────────────────────────────▶ stopped ◀──────┴─────────── confirming
 * ```
 *
 * Three signals: the first stops in order; the second skips the waits, never the attempt to deregister; the third
 * kills. Signals coalesce, so no path counts on seeing each of them: the deadlines end every phase as well.
 */
export interface Step {
  readonly phase: Phase;
  readonly effects: readonly Effect[];
}

export const INITIAL_PHASE: Phase = { name: 'starting', announced: false };

/** Pure. An input that means nothing in the current phase returns that same phase and no effects. */
export function step(phase: Phase, input: Input): Step {
  switch (phase.name) {
    case 'starting':
      return fromStarting(phase, input);
    case 'running':
      return fromRunning(phase, input);
    case 'deregistering':
      return fromDeregistering(phase, input);
    case 'settling':
    case 'draining':
    case 'exiting':
      return fromWaiting(phase, input);
    case 'confirming':
      return fromConfirming(phase, input);
    case 'stopped':
      return stay(phase);
  }
}

function fromStarting(phase: Starting, input: Input): Step {
  switch (input.type) {
    case 'announced':
      return to({ ...phase, announced: true });
    case 'spawned':
      return to({ name: 'running', announced: phase.announced, envoy: false, standby: 'no' });
    case 'stop-requested':
      return abandonStart(phase, { code: null, signal: input.signal }, input.deadlines);
    case 'spawn-failed':
      return to({ name: 'stopped', exit: input.exit }, { type: 'exit', exit: input.exit });
    case 'envoy-seen':
    case 'standby-requested':
    case 'child-exited':
    case 'deregistered':
    case 'timer-fired':
    case 'drained':
    case 'confirmed':
      return stay(phase);
  }
}

/** kuma-dp was never started: the agent ends as the signal would have ended it. */
function abandonStart(phase: Starting, exit: ChildExit, deadlines: StopDeadlines): Step {
  const cancel: Effect = { type: 'cancel-start' };
  if (!phase.announced) return to({ name: 'stopped', exit }, cancel, { type: 'exit', exit });
  return to(
    { name: 'deregistering', child: exit, envoy: false, standby: false, deadlines, asked: 1 },
    cancel,
    { type: 'deregister', byMs: deadlines.deregisterByMs },
  );
}

function fromRunning(phase: Running, input: Input): Step {
  switch (input.type) {
    case 'envoy-seen':
      return to({ ...phase, envoy: true });
    case 'stop-requested':
      return beginStop(phase, input.deadlines);
    case 'standby-requested':
      return standBy(phase, input.deregisterByMs);
    case 'deregistered':
      return phase.standby === 'deregistering' ? to({ ...phase, standby: 'yes' }, STANDBY) : stay(phase);
    case 'child-exited':
      return afterCrash(phase, input.exit, input.deadlines);
    case 'announced':
    case 'spawned':
    case 'spawn-failed':
    case 'timer-fired':
    case 'drained':
    case 'confirmed':
      return stay(phase);
  }
}

function standBy(phase: Running, deregisterByMs: number): Step {
  switch (phase.standby) {
    case 'no':
      return to({ ...phase, standby: 'deregistering' }, { type: 'deregister', byMs: deregisterByMs });
    case 'deregistering':
      return stay(phase);
    case 'yes':
      return to(phase, STANDBY);
  }
}

function beginStop(phase: Running, deadlines: StopDeadlines): Step {
  return to(
    {
      name: 'deregistering',
      child: 'alive',
      envoy: phase.envoy,
      standby: phase.standby === 'yes',
      deadlines,
      asked: 1,
    },
    { type: 'deregister', byMs: deadlines.deregisterByMs },
    { type: 'arm', timer: 'kill', atMs: deadlines.killAtMs },
  );
}

function afterCrash(phase: Running, exit: ChildExit, deadlines: StopDeadlines | undefined): Step {
  const registered = phase.announced || phase.envoy;
  if (deadlines === undefined || !registered) return finish(exit);
  return to(
    { name: 'deregistering', child: exit, envoy: phase.envoy, standby: false, deadlines, asked: 1 },
    { type: 'deregister', byMs: deadlines.deregisterByMs },
  );
}

function fromDeregistering(phase: Deregistering, input: Input): Step {
  switch (input.type) {
    case 'deregistered':
      return afterDeregistration(phase, input);
    case 'child-exited':
      return to({ ...phase, child: input.exit });
    case 'envoy-seen':
      return to({ ...phase, envoy: true });
    case 'stop-requested':
      return askAgain(phase, { type: 'hasten-deregistration' });
    case 'timer-fired':
      return input.timer === 'kill' && phase.child === 'alive' ? to(phase, KILL) : stay(phase);
    case 'announced':
    case 'spawned':
    case 'spawn-failed':
    case 'standby-requested':
    case 'drained':
    case 'confirmed':
      return stay(phase);
  }
}

function afterDeregistration(phase: Deregistering, input: Extract<Input, { type: 'deregistered' }>): Step {
  if (phase.child !== 'alive') return finish(phase.child);
  if (phase.asked > 2) return end(phase);
  if (phase.asked > 1) return end(phase, DRAIN, END);
  // Where Envoy never came up nobody was served, and where the object stays no peer will let go of it.
  if (!phase.envoy || input.outcome !== 'gone') return drain(phase);
  const { deadlines, asked, standby } = phase;
  const settledAtMs = Math.min(input.atMs + input.settleMs, deadlines.waitsEndAtMs);
  return to(
    { name: 'settling', deadlines, asked, standby },
    { type: 'arm', timer: 'settle', atMs: settledAtMs },
  );
}

/** A kuma-dp in standby would end at the first SIGTERM, so that one waits until the last request is done. */
function drain({ deadlines, asked, standby }: Deregistering | Settling): Step {
  const untilMs = deadlines.waitsEndAtMs;
  return to(
    { name: 'draining', deadlines, asked },
    ...(standby ? [] : [DRAIN]),
    { type: 'watch-drain' },
    { type: 'arm', timer: 'drain', atMs: untilMs },
  );
}

function end({ deadlines, asked }: Stopping, ...effects: readonly Effect[]): Step {
  return to({ name: 'exiting', deadlines, asked }, ...effects);
}

/** kuma-dp lives and somebody waits: for the peers, for the last request, or for its end. */
function fromWaiting(phase: Settling | Draining | Exiting, input: Input): Step {
  switch (input.type) {
    case 'timer-fired':
      return afterTimer(phase, input.timer);
    case 'drained':
      return phase.name === 'draining' ? end(phase, END) : stay(phase);
    case 'stop-requested':
      return hurry(phase);
    case 'child-exited':
      return confirm(phase, input.exit);
    case 'announced':
    case 'spawned':
    case 'spawn-failed':
    case 'envoy-seen':
    case 'standby-requested':
    case 'deregistered':
    case 'confirmed':
      return stay(phase);
  }
}

function afterTimer(phase: Settling | Draining | Exiting, timer: Timer): Step {
  switch (timer) {
    case 'settle':
      return phase.name === 'settling' ? drain(phase) : stay(phase);
    case 'drain':
      return phase.name === 'draining' ? end(phase, END) : stay(phase);
    case 'kill':
      return end(phase, KILL);
  }
}

function hurry(phase: Settling | Draining | Exiting): Step {
  switch (phase.name) {
    case 'settling':
      return end({ ...phase, asked: phase.asked + 1 }, DRAIN, END);
    case 'draining':
      return end({ ...phase, asked: phase.asked + 1 }, END);
    case 'exiting':
      return askAgain(phase);
  }
}

function fromConfirming(phase: Confirming, input: Input): Step {
  switch (input.type) {
    case 'confirmed':
    case 'stop-requested':
      return finish(phase.exit);
    case 'announced':
    case 'spawned':
    case 'spawn-failed':
    case 'envoy-seen':
    case 'standby-requested':
    case 'child-exited':
    case 'deregistered':
    case 'timer-fired':
    case 'drained':
      return stay(phase);
  }
}

const DRAIN: Effect = { type: 'tell-child', stage: 'drain' };
const END: Effect = { type: 'tell-child', stage: 'end' };
const KILL: Effect = { type: 'tell-child', stage: 'kill' };
const STANDBY: Effect = { type: 'tell-child', stage: 'standby' };

/** The second request hurries, the third kills; later ones kill again, which harms nobody. */
function askAgain(phase: Deregistering | Exiting, ...hastening: readonly Effect[]): Step {
  const asked = phase.asked + 1;
  const alive = phase.name === 'exiting' || phase.child === 'alive';
  return to({ ...phase, asked }, ...(asked === 2 ? hastening : alive ? [KILL] : []));
}

function confirm(stop: Stopping, exit: ChildExit): Step {
  const { deadlines, asked } = stop;
  if (asked > 2) return finish(exit);
  return to({ name: 'confirming', deadlines, asked, exit }, { type: 'confirm', byMs: deadlines.endsAtMs });
}

function finish(exit: ChildExit): Step {
  return to({ name: 'stopped', exit }, { type: 'exit', exit });
}

function to(phase: Phase, ...effects: readonly Effect[]): Step {
  return { phase, effects };
}

function stay(phase: Phase): Step {
  return { phase, effects: [] };
}
