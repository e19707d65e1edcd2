import type { Phase } from '../stop/phases.pure.ts';

/** `ready`: Envoy serves. `leave`: the stop has begun. `drained`: Envoy is idle, or its time is up. */
export type HookName = 'ready' | 'leave' | 'drained';

export type HookCommands = Readonly<Record<HookName, string | undefined>>;

export interface HookStart {
  readonly name: HookName;
  /** How long it may run. */
  readonly limitMs: number;
}

/** The share of a stop's budget that one hook may use. */
const SHARE = 0.25;
/** Time at the end of the budget for the last log lines and the exit. */
const RESERVE_MS = 250;
/** The limit of a start's hook, which has no budget to use up. */
const READY_LIMIT_MS = 60_000;

export const READY: HookStart = { name: 'ready', limitMs: READY_LIMIT_MS };

/** The hooks that a new phase starts; each hook of a stop runs once. */
export function hookOf(phase: Phase, begun: ReadonlySet<HookName>, nowMs: number): HookStart | undefined {
  if (!('deadlines' in phase)) return undefined;
  const { startedAtMs, endsAtMs } = phase.deadlines;
  const limitMs = Math.min((endsAtMs - startedAtMs) * SHARE, endsAtMs - nowMs - RESERVE_MS);
  if (!begun.has('leave')) return { name: 'leave', limitMs: Math.max(0, limitMs) };
  const isDrained = phase.name === 'exiting' || phase.name === 'confirming';
  return isDrained && !begun.has('drained') ? { name: 'drained', limitMs: Math.max(0, limitMs) } : undefined;
}

export interface HookFacts {
  readonly dataplane: string | undefined;
  readonly incarnation: string;
  /** The phase in which it is started. */
  readonly phase: string;
  readonly limitMs: number;
}

/** The environment of a hook, beside the agent's own. */
export function hookEnvironment(
  name: HookName,
  { dataplane, incarnation, phase, limitMs }: HookFacts,
): Readonly<Record<string, string>> {
  const [mesh = '', ...rest] = (dataplane ?? '').split('/');
  return {
    KUMA_HOOK: name,
    KUMA_HOOK_MESH: mesh,
    KUMA_HOOK_NAME: rest.join('/'),
    KUMA_HOOK_INCARNATION: incarnation,
    KUMA_HOOK_PHASE: phase,
    KUMA_HOOK_LIMIT_MS: String(Math.round(limitMs)),
  };
}
