import { refusesSameName } from '../../kuma/control-plane.ts';
import type { Owner } from '../identity/owner.pure.ts';

/** The previous run, from the state file. */
export interface PreviousRun {
  readonly owner: Owner;
  /** The control plane gave Envoy its configuration: otherwise it has nothing to forget. */
  readonly connected: boolean;
  /** `undefined` if it did not end, or its end was not written down. */
  readonly endedAtUptimeMs: number | undefined;
  /** `undefined` if no control plane has said it: a guess would delay starts that nothing stands against. */
  readonly deregistrationDelayMs: number | undefined;
  readonly version: string | undefined;
}

/** Measured: kuma-dp started 10.3 s after the old one ended was serving after 11.5 s, every time; at 10.0 s not. */
const MARGIN_MS = 300;

/**
 * How long to wait before kuma-dp is started again under the same name: its control plane refuses the name until the
 * old stream's deregistration delay is over, and Envoy's reconnect backoff then adds up to 25 s by luck. The same wait
 * keeps that late deletion from hitting an object that the agent puts itself.
 */
export function restartPacingMs(previous: PreviousRun, uptimeMs: number): number {
  const { owner, connected, endedAtUptimeMs, deregistrationDelayMs: delayMs, version } = previous;
  if (owner !== 'cp' || !connected || endedAtUptimeMs === undefined) return 0;
  if (delayMs === undefined || delayMs === 0 || !refusesSameName(version)) return 0;
  const sinceMs = uptimeMs - endedAtUptimeMs;
  if (sinceMs < 0) return 0;
  return Math.max(0, delayMs + MARGIN_MS - sinceMs);
}

/**
 * Whether the control plane has been started again since the run before: then it has forgotten the name. Where several
 * answer, the one that knows the name may be among them.
 *
 * @param known the instance that the run before was told of; `undefined` if none
 * @param seen the instances that have answered by now
 */
export function hasForgotten(known: string | undefined, seen: readonly (string | undefined)[]): boolean {
  if (known === undefined || seen.length === 0) return false;
  return seen.every((instance) => instance !== undefined && instance !== known);
}
