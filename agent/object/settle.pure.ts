import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DeregistrationOutcome } from '../stop/phases.pure.ts';

/**
 * How long after kuma-dp's first signal a drain must go on even if nothing seems to happen, because peers may still
 * send new requests.
 *
 * Deregistered and settled: they have let go, no floor. Not deregistered on purpose (an external dataplane): the CP's
 * health checks take it out of their lists, if HDS is on. Deregistration failed, or was handed over to
 * a companion that has not done it yet: the control plane may be down and the peers keep what they know, so kuma-dp's
 * own drain time holds.
 */
export function drainFloorMs(
  outcome: DeregistrationOutcome,
  facts: ControlPlaneFacts,
  drainTimeMs: number,
): number {
  if (outcome === 'gone') return 0;
  if (outcome !== 'kept' || facts.hdsDelayMs === undefined) return drainTimeMs;
  return Math.min(drainTimeMs, facts.hdsDelayMs + settleMs(facts));
}

/** Added to the control plane's own intervals: delivery to the peers and their switch. */
const DELIVERY_MARGIN_MS = 250;

/** How long Envoy keeps serving after the object is gone, until the peers have been told. */
export function settleMs(facts: ControlPlaneFacts): number {
  return facts.propagationMs + DELIVERY_MARGIN_MS;
}
