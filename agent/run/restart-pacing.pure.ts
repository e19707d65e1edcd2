import { refusesSameName } from '../../kuma/control-plane.ts';
import type { Owner } from '../identity/owner.pure.ts';

/** What the state file says of the run before this one. Uptimes are milliseconds since this host booted. */
export interface PreviousRun {
  readonly owner: Owner;
  /** `undefined` if it did not end, or its end was not written down. */
  readonly endedAtUptimeMs: number | undefined;
  readonly deregistrationDelayMs: number;
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
  if (previous.owner !== 'cp' || previous.endedAtUptimeMs === undefined) return 0;
  if (previous.deregistrationDelayMs === 0 || !refusesSameName(previous.version)) return 0;
  const sinceMs = uptimeMs - previous.endedAtUptimeMs;
  if (sinceMs < 0) return 0;
  return Math.max(0, previous.deregistrationDelayMs + MARGIN_MS - sinceMs);
}
