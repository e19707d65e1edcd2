import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';

/** One configured control plane, looked at. */
export interface InstanceLook {
  /** Without credentials. */
  readonly url: string;
  readonly seen: { readonly facts: ControlPlaneFacts } | { readonly problem: string };
}
