import type { ChildExit } from '../child/exit-status.pure.ts';
import type {
  Confirming,
  Deregistering,
  Draining,
  Effect,
  Exiting,
  Input,
  Phase,
  Progress,
  Running,
  SettleFrom,
  Settling,
  Starting,
  Stopping,
  Timer,
} from './phases.pure.ts';
import {
  drain,
  end,
  END,
  finish,
  GIVE_UP,
  HASTEN,
  KILL,
  lastAttempt,
  progressOf,
  settle,
  STANDBY,
  stay,
  to,
  type PhaseStep,
  WATCH_USERS,
  withProgress,
} from './transition.pure.ts';
import type { StopDeadlines } from './stop-budget.pure.ts';

export const INITIAL_PHASE: Phase = { name: 'starting', registered: false };

/**
 * The agent's life as data. Nothing here performs I/O: {@link step} maps a phase and an input to the next phase plus
 * the effects that the supervisor must run, so every path is a row in a test.
 *
 * ```text
 * starting ──spawned──▶ running ──stop──▶ deregistering ──gone──▶ settling ──timer──▶ draining ──quiet──▶ exiting
 *    │                     │                    │                    │      SIGTERM      │   2nd SIGTERM     │
 *    │                     │                    └──not gone, or late──┼─────────▶─────────┘                   │
 *    │                     │                                         └────────kuma-dp exits──────────────────┤
 *    │                     └──kuma-dp exits──▶ deregistering (its exit noted) ──────────────┐                ▼
 *    └──stop, or it cannot be spawned──────────────────────────────────────▶ stopped ◀──────┴─────────── confirming
 * ```
 *
 * A deregistration that is late is tried on while kuma-dp drains, and for a moment after its end. Where neither an
 * object was registered nor an Envoy seen, kuma-dp is told at once.
 *
 * Three signals: the first stops in order; the second skips the waits, never the attempt to deregister; the third
 * kills. Signals coalesce, so no path counts on seeing each of them: the deadlines end every phase as well.
 *
 * Pure. An input that means nothing in the current phase returns that same phase and no effects.
 */
export function step(phase: Phase, input: Input): PhaseStep {
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

function fromStarting(phase: Starting, input: Input): PhaseStep {
  switch (input.type) {
    case 'registered':
      return to({ ...phase, registered: true });
    case 'spawned':
      return to({ name: 'running', registered: phase.registered, envoy: false, standby: 'no' });
    case 'stop-requested':
      return abandonStart(phase, { code: null, signal: input.signal }, input.deadlines);
    case 'spawn-failed':
      return phase.registered
        ? abandonStart(phase, input.exit, input.deadlines)
        : to({ name: 'stopped', exit: input.exit }, { type: 'exit', exit: input.exit });
    case 'envoy-seen':
    case 'standby-requested':
    case 'child-exited':
    case 'deregistered':
    case 'deleted-again':
    case 'timer-fired':
    case 'drained':
    case 'confirmed':
      return stay(phase);
  }
}

/** kuma-dp was never started: the agent ends with `exit`, after it has deleted the object that it registered. */
function abandonStart(phase: Starting, exit: ChildExit, deadlines: StopDeadlines): PhaseStep {
  const cancel: Effect = { type: 'cancel-start' };
  if (!phase.registered) return to({ name: 'stopped', exit }, cancel, { type: 'exit', exit });
  return to(
    { name: 'deregistering', child: exit, envoy: false, standby: false, deadlines, asked: 1 },
    cancel,
    { type: 'deregister', byMs: deadlines.deregisterByMs },
  );
}

function fromRunning(phase: Running, input: Input): PhaseStep {
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
    case 'registered':
    case 'spawned':
    case 'spawn-failed':
    case 'deleted-again':
    case 'timer-fired':
    case 'drained':
    case 'confirmed':
      return stay(phase);
  }
}

function standBy(phase: Running, deregisterByMs: number): PhaseStep {
  switch (phase.standby) {
    case 'no':
      return to({ ...phase, standby: 'deregistering' }, { type: 'deregister', byMs: deregisterByMs });
    case 'deregistering':
      return stay(phase);
    case 'yes':
      return to(phase, STANDBY);
  }
}

function beginStop(phase: Running, deadlines: StopDeadlines): PhaseStep {
  const deregister: Effect = { type: 'deregister', byMs: deadlines.killAtMs };
  const armKill: Effect = { type: 'arm', timer: 'kill', atMs: deadlines.killAtMs };
  const standby = phase.standby === 'yes';
  if (!phase.registered && !phase.envoy && phase.standby === 'no') {
    // Envoy served no request, so the agent signals kuma-dp at once. An Envoy that cannot be seen here may still have
    // an object.
    const drained = drain({ deadlines, asked: 1, standby }, 'trying');
    return to(drained.phase, deregister, WATCH_USERS, armKill, ...drained.effects);
  }
  return to(
    { name: 'deregistering', child: 'alive', envoy: phase.envoy, standby, deadlines, asked: 1 },
    deregister,
    WATCH_USERS,
    { type: 'arm', timer: 'deregister', atMs: deadlines.deregisterByMs },
    armKill,
  );
}

function afterCrash(phase: Running, exit: ChildExit, deadlines: StopDeadlines | undefined): PhaseStep {
  const registered = phase.registered || phase.envoy;
  if (deadlines === undefined || !registered) return finish(exit);
  return to(
    { name: 'deregistering', child: exit, envoy: phase.envoy, standby: false, deadlines, asked: 1 },
    { type: 'deregister', byMs: deadlines.deregisterByMs },
  );
}

function fromDeregistering(phase: Deregistering, input: Input): PhaseStep {
  switch (input.type) {
    case 'deregistered':
      return afterDeregistration(phase, input);
    case 'child-exited':
      return to({ ...phase, child: input.exit }, lastAttempt(phase.deadlines, input.atMs));
    case 'envoy-seen':
      return to({ ...phase, envoy: true });
    case 'stop-requested':
      return askAgain(phase, HASTEN);
    case 'timer-fired':
      return whileDeregistering(phase, input.timer);
    case 'registered':
    case 'spawned':
    case 'spawn-failed':
    case 'standby-requested':
    case 'deleted-again':
    case 'drained':
    case 'confirmed':
      return stay(phase);
  }
}

function whileDeregistering(phase: Deregistering, timer: Timer): PhaseStep {
  const alive = phase.child === 'alive';
  switch (timer) {
    case 'deregister':
      // The second request has bounded the wait already.
      return alive && phase.asked === 1 ? drain(phase, 'trying') : stay(phase);
    case 'kill':
      return alive ? to(phase, KILL) : stay(phase);
    case 'give-up':
      return to(phase, GIVE_UP);
    case 'settle':
    case 'drain':
      return stay(phase);
  }
}

function afterDeregistration(
  phase: Deregistering,
  input: Extract<Input, { type: 'deregistered' }>,
): PhaseStep {
  if (phase.child !== 'alive') return finish(phase.child);
  const progress = progressOf(input.outcome);
  if (phase.asked > 2) return end({ ...phase, progress });
  if (phase.asked > 1) return end({ ...phase, progress }, END);
  // If Envoy never served, no peer was served; if the object stays, no peer will drop it.
  if (!phase.envoy || input.outcome !== 'gone') return drain(phase, progress);
  const { deadlines, asked, standby } = phase;
  return to({ name: 'settling', deadlines, asked, standby }, settle(deadlines, input));
}

/** kuma-dp lives and the agent waits: for the peers, for the last request, or for its end. */
function fromWaiting(phase: Settling | Draining | Exiting, input: Input): PhaseStep {
  switch (input.type) {
    case 'timer-fired':
      return afterTimer(phase, input.timer);
    case 'drained':
      return phase.name === 'draining' ? end(phase, END) : stay(phase);
    case 'stop-requested':
      return hurry(phase);
    case 'child-exited':
      return afterEnd(withProgress(phase), input);
    case 'deregistered':
      return afterLateDeregistration(phase, input);
    case 'deleted-again':
      return settleAnew(phase, input);
    case 'envoy-seen':
      return afterLateEnvoy(phase);
    case 'registered':
    case 'spawned':
    case 'spawn-failed':
    case 'standby-requested':
    case 'confirmed':
      return stay(phase);
  }
}

/** The peers have to be informed once more. */
function settleAnew(phase: Settling | Draining | Exiting, from: SettleFrom): PhaseStep {
  return phase.name === 'settling' ? to(phase, settle(phase.deadlines, from)) : stay(phase);
}

/** A standby and a stop may each have an answer. */
function afterLateDeregistration(
  phase: Settling | Draining | Exiting,
  input: Extract<Input, { type: 'deregistered' }>,
): PhaseStep {
  if (phase.name === 'settling') return settleAnew(phase, input);
  return phase.progress === 'trying' ? to({ ...phase, progress: progressOf(input.outcome) }) : stay(phase);
}

/** Envoy had just started when the stop began, so there was no drain to watch before. */
function afterLateEnvoy(phase: Settling | Draining | Exiting): PhaseStep {
  return phase.name === 'draining' ? to(phase, { type: 'watch-drain' }) : stay(phase);
}

function afterTimer(phase: Settling | Draining | Exiting, timer: Timer): PhaseStep {
  switch (timer) {
    case 'settle':
      return phase.name === 'settling' ? drain(phase, 'answered') : stay(phase);
    case 'drain':
      return phase.name === 'draining' ? end(phase, END) : stay(phase);
    case 'kill':
      return end(withProgress(phase), KILL);
    case 'deregister':
    case 'give-up':
      return stay(phase);
  }
}

function hurry(phase: Settling | Draining | Exiting): PhaseStep {
  switch (phase.name) {
    case 'settling':
      return end({ ...withProgress(phase), asked: phase.asked + 1 }, END);
    case 'draining':
      return end({ ...phase, asked: phase.asked + 1 }, ...whileTrying(phase), END);
    case 'exiting':
      return askAgain(phase, ...whileTrying(phase));
  }
}

function whileTrying({ progress }: Draining | Exiting): readonly Effect[] {
  return progress === 'trying' ? [HASTEN] : [];
}

function fromConfirming(phase: Confirming, input: Input): PhaseStep {
  switch (input.type) {
    case 'confirmed':
    case 'stop-requested':
      return finish(phase.exit);
    case 'deregistered':
      return phase.trying ? finish(phase.exit) : stay(phase);
    case 'timer-fired':
      return input.timer === 'give-up' ? to(phase, GIVE_UP) : stay(phase);
    case 'registered':
    case 'spawned':
    case 'spawn-failed':
    case 'envoy-seen':
    case 'standby-requested':
    case 'child-exited':
    case 'deleted-again':
    case 'drained':
      return stay(phase);
  }
}

/** The second request hurries the stop, the third kills; later ones kill again, which is harmless. */
function askAgain(phase: Deregistering | Exiting, ...hastening: readonly Effect[]): PhaseStep {
  const asked = phase.asked + 1;
  const alive = phase.name === 'exiting' || phase.child === 'alive';
  return to({ ...phase, asked }, ...(asked === 2 ? hastening : alive ? [KILL] : []));
}

/** If every attempt has failed, one more look would fail as well and only delay the end. */
function afterEnd(
  { deadlines, asked, progress }: Stopping & { readonly progress: Progress },
  { exit, atMs }: Extract<Input, { type: 'child-exited' }>,
): PhaseStep {
  if (asked > 2) return finish(exit);
  const confirming = { name: 'confirming', deadlines, asked, exit } as const;
  switch (progress) {
    case 'answered':
      return to({ ...confirming, trying: false }, { type: 'confirm', byMs: deadlines.endsAtMs });
    case 'trying':
      return to({ ...confirming, trying: true }, lastAttempt(deadlines, atMs));
    case 'failed':
      return finish(exit);
  }
}
