import type { ChildExit, SignalName } from '../child/exit-status.pure.ts';
import type { StopDeadlines } from './stop-budget.pure.ts';

/** The phases of a run, their inputs and their effects. */
export type Phase = Starting | Running | Deregistering | Settling | Draining | Exiting | Confirming | Stopped;

/** kuma-dp does not run yet: restart pacing waits, or the object is being put. */
export interface Starting {
  readonly name: 'starting';
  /** The agent has put the object already, so any end of the start has to delete it again. */
  readonly registered: boolean;
}

export interface Running {
  readonly name: 'running';
  /** The agent put the object; otherwise kuma-dp's control plane does, once Envoy connects. */
  readonly registered: boolean;
  /** Envoy was seen. Only then can the control plane have created the object, and only then is there a drain. */
  readonly envoy: boolean;
  /** SIGUSR2, kuma-dp's "drain and stay": first deregistered, then forwarded. */
  readonly standby: 'no' | 'deregistering' | 'yes';
}

/** The fields that every phase of a stop has. */
export interface Stopping {
  readonly deadlines: StopDeadlines;
  /** How often a stop was requested: 1 for an orderly stop, 2 for a hurried one. */
  readonly asked: number;
}

export interface Deregistering extends Stopping {
  readonly name: 'deregistering';
  readonly child: 'alive' | ChildExit;
  readonly envoy: boolean;
  /** kuma-dp has drained for SIGUSR2 already: the first SIGTERM ends it. */
  readonly standby: boolean;
}

export interface Settling extends Stopping {
  readonly name: 'settling';
  readonly standby: boolean;
}

/**
 * The state of the deregistration while kuma-dp ends. `trying`: no answer yet, and the attempts continue. `answered`:
 * the object is gone, or stays on purpose. `failed`: no attempt is left.
 */
export type Progress = 'trying' | 'answered' | 'failed';

export interface Draining extends Stopping {
  readonly name: 'draining';
  readonly progress: Progress;
}

/** kuma-dp was told to end now. */
export interface Exiting extends Stopping {
  readonly name: 'exiting';
  readonly progress: Progress;
}

/**
 * kuma-dp has ended. The last attempt to deregister gets a moment, or the agent checks whether the object is still
 * gone.
 */
export interface Confirming extends Stopping {
  readonly name: 'confirming';
  readonly exit: ChildExit;
  readonly trying: boolean;
}

export interface Stopped {
  readonly name: 'stopped';
  readonly exit: ChildExit;
}

/**
 * `gone`: the object is deleted. `kept`: it was meant to stay, or it belongs to another run. `handed over`: it was not
 * gone in time, but a companion has recorded the departure and finishes it. `failed`: it should be gone, but no
 * endpoint said so in time.
 */
export type DeregistrationOutcome = 'gone' | 'kept' | 'handed over' | 'failed';

/** How a deregistration ended. */
export interface Deregistration {
  readonly outcome: DeregistrationOutcome;
  /** `deleted`, `already gone`, or why it was kept or failed. */
  readonly reason: string;
  readonly endpoint: string | undefined;
  readonly attempts: number;
}

/** The outcome of the look after kuma-dp's end. */
export interface Confirmed {
  readonly outcome: 'gone' | 'deleted again' | 'left' | 'unknown';
  readonly reason?: string;
}

/** How a drain ended, and the reasons for its waits, in order. */
export interface Drained {
  readonly outcome: 'quiet' | 'time is up';
  readonly held: readonly string[];
}

export type Input =
  | { readonly type: 'registered' }
  | { readonly type: 'spawned' }
  | {
      readonly type: 'spawn-failed';
      readonly exit: ChildExit;
      /** For the object that was registered before. */
      readonly deadlines: StopDeadlines;
    }
  | { readonly type: 'envoy-seen' }
  | {
      readonly type: 'stop-requested';
      readonly signal: SignalName;
      /** The budget's division, if this request begins the stop. */
      readonly deadlines: StopDeadlines;
    }
  | { readonly type: 'standby-requested'; readonly deregisterByMs: number }
  | {
      readonly type: 'child-exited';
      readonly exit: ChildExit;
      /** On the monotonic clock. */
      readonly atMs: number;
      /** For a kuma-dp that died by itself; `undefined` if nothing is to be done then (`--on-crash keep`). */
      readonly deadlines: StopDeadlines | undefined;
    }
  | ({ readonly type: 'deregistered' } & Deregistration & SettleFrom)
  /** The control plane had put the object back for Envoy's stream. */
  | ({ readonly type: 'deleted-again' } & SettleFrom)
  | { readonly type: 'timer-fired'; readonly timer: Timer }
  | ({ readonly type: 'drained' } & Drained)
  /** `undefined`: the agent had no reason to look. */
  | { readonly type: 'confirmed'; readonly confirmed: Confirmed | undefined };

/** From `atMs` (monotonic) on, peers need this long. */
export interface SettleFrom {
  readonly settleMs: number;
  readonly atMs: number;
}

/**
 * `deregister`: kuma-dp waits no longer for the deregistration. `settle`: the peers have been told. `drain`: no more time
 * to drain. `kill`: no more time for kuma-dp. `give-up`: no more time for the last attempt to deregister.
 */
export type Timer = 'deregister' | 'settle' | 'drain' | 'kill' | 'give-up';

export type Effect =
  | { readonly type: 'cancel-start' }
  | { readonly type: 'deregister'; readonly byMs: number }
  | { readonly type: 'hasten-deregistration' }
  | { readonly type: 'give-up-deregistration' }
  | { readonly type: 'arm'; readonly timer: Timer; readonly atMs: number }
  /**
   * The stop begins: record what only its first moment shows of Envoy's users, and fail readiness for clients outside
   * the mesh.
   */
  | { readonly type: 'watch-users' }
  | { readonly type: 'watch-drain' }
  /** `end` drains first if kuma-dp was not told to. */
  | { readonly type: 'tell-child'; readonly stage: 'drain' | 'end' | 'kill' | 'standby' }
  | { readonly type: 'confirm'; readonly byMs: number }
  | { readonly type: 'exit'; readonly exit: ChildExit };
