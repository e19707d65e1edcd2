import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { ProxyType } from '../../kuma/dataplane.ts';

/** Added to the control plane's own intervals: delivery to the peers and their switch. */
const DELIVERY_MARGIN_MS = 250;

/** What other zones see of the stopping proxy. */
export interface SettleScope {
  readonly proxyType: ProxyType;
  /** No other ready dataplane of the zone has one of its services. */
  readonly lastOfService: boolean;
}

/** How long Envoy keeps serving after the object is gone, until the peers have been told, those of other zones included. */
export function settleMs(facts: ControlPlaneFacts, scope?: SettleScope): number {
  const { propagationMs, otherZones } = facts;
  if (otherZones === undefined || scope === undefined) return propagationMs + DELIVERY_MARGIN_MS;
  const { ingressMs, lastOfServiceMs } = otherZones;
  if (scope.proxyType === 'ingress') return ingressMs + DELIVERY_MARGIN_MS;
  return (scope.lastOfService ? lastOfServiceMs : propagationMs) + DELIVERY_MARGIN_MS;
}
