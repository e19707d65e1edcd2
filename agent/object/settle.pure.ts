import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';

/** Added to the control plane's own intervals: delivery to the peers and their switch. */
const DELIVERY_MARGIN_MS = 250;

/** How long Envoy keeps serving after the object is gone, until the peers have been told. */
export function settleMs(facts: ControlPlaneFacts): number {
  return facts.propagationMs + DELIVERY_MARGIN_MS;
}
