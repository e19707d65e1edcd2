import { refusesSameName } from '../../kuma/control-plane.ts';
import type { Owner } from '../identity/owner.pure.ts';

/** The previous run, from the state file. */
export interface PreviousRun {
  readonly owner: Owner;
  /** The control plane gave Envoy its configuration; otherwise it has nothing to forget. */
  readonly connected: boolean;
  /** `undefined` if it did not end, or its end was not recorded. */
  readonly endedAtUptimeMs: number | undefined;
  /** `undefined` if no control plane has told it: a guess could delay starts without need. */
  readonly deregistrationDelayMs: number | undefined;
  readonly version: string | undefined;
}

/**
 * Measured: a kuma-dp that started 10.3 s after the end of the previous kuma-dp always served after 11.5 s. A start after
 * 10.0 s did not.
 */
const MARGIN_MS = 300;

/**
 * How long to wait before kuma-dp is started again under the same name. Its control plane refuses the name until the
 * old stream's deregistration delay is over, and Envoy's reconnect backoff then adds up to 25 s. The wait also keeps
 * that late deletion from hitting an object that the agent itself puts.
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
 * Whether the control plane has been restarted since the previous run: then it has forgotten the name. If several
 * answer, the one that knows the name may be among them.
 *
 * @param known the instance that the previous run knew; `undefined` if none
 * @param seen the instances that have answered by now
 */
export function hasForgotten(known: string | undefined, seen: readonly (string | undefined)[]): boolean {
  if (known === undefined || seen.length === 0) return false;
  return seen.every((instance) => instance !== undefined && instance !== known);
}
