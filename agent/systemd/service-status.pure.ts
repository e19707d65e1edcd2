import type { ServiceFields } from '../../kernel/service-fields.ts';
import type { Phase } from '../stop/phases.pure.ts';

/** How much longer systemd is asked to wait each time, and how often it is asked. */
const EXTENSION_MS = 15_000;
export const RENEWAL_MS = 5_000;

/** The notification for a phase. */
export interface ServicePhase {
  readonly phase: Phase;
  /** `default/web-1`; `undefined` while it is not known. */
  readonly label: string | undefined;
  readonly serving: boolean;
  /** What the drain waits for, if known. */
  readonly hold?: string | undefined;
  /** Since when an operator keeps it out of rotation; RFC 3339. */
  readonly drainedSince?: string | undefined;
  readonly nowMs: number;
}

/**
 * The phase as a message to systemd. A stop asks for more time within its budget, and never for more than the rest of
 * it. A hanging stop is killed when the budget ends, or when the unit's own limit does, whichever is later. `READY=1`
 * is sent once Envoy serves, in any phase.
 */
export function messageOf({ phase, label, serving, hold, drainedSince, nowMs }: ServicePhase): ServiceFields {
  const words =
    phase.name === 'running' && serving && drainedSince !== undefined
      ? `drained since ${drainedSince}: peers do not send to it until "kuma-dp-agent resume"`
      : wordsOf(phase, serving, hold);
  const status = label === undefined ? words : `${label}: ${words}`;
  if (phase.name === 'starting') return { status };
  if (phase.name === 'running') return serving ? { ready: true, status } : { status };
  const extendMs = 'deadlines' in phase ? extensionMs(phase.deadlines.endsAtMs, nowMs) : 0;
  return { stopping: true, status, ...(extendMs > 0 ? { extendMs } : {}) };
}

function wordsOf({ name }: Phase, serving: boolean, hold: string | undefined): string {
  if (name === 'running' && serving) return 'serving';
  return name === 'draining' && hold !== undefined ? `stopping: ${hold}` : WORDS[name];
}

/** @returns 0 once the budget is spent */
export function extensionMs(endsAtMs: number, nowMs: number): number {
  return Math.max(0, Math.min(EXTENSION_MS, endsAtMs - nowMs));
}

const WORDS: Readonly<Record<Phase['name'], string>> = {
  starting: 'waiting before starting kuma-dp',
  running: 'kuma-dp runs, Envoy does not serve yet',
  deregistering: 'stopping: deregistering',
  settling: 'stopping: deregistered, serving until peers have dropped the endpoint',
  draining: 'stopping: waiting for the last requests',
  exiting: 'stopping: waiting for kuma-dp to end',
  confirming: 'stopping: checking that the object is still gone',
  stopped: 'stopped',
};
