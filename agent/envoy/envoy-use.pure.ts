import type { Activity, OutboundTraffic, Traffic } from './envoy-activity.pure.ts';

/** {@link Activity} followed over the looks of one stop; immutable. Times are monotonic milliseconds. */
export interface EnvoyUse {
  readonly inbound: Traffic;
  /** Without the agent's own connections. */
  readonly outbound: OutboundTraffic;
  /** Since when nothing inbound has been in progress and nothing has begun; `undefined` while something is. */
  readonly quietSinceMs: number | undefined;
  /** When a look last found that an outbound request or connection had begun; `-Infinity` before. */
  readonly lastCallMs: number;
  /** When bytes were last seen to move on outbound connections that are not HTTP; `-Infinity` if never. */
  readonly movedAtMs: number;
}

/** One look at Envoy, with the host's signs at that moment. */
export interface EnvoyLook {
  readonly atMs: number;
  readonly activity: Activity;
  /** The agent's own connections through an outbound listener: open now, and ever seen. */
  readonly own: { readonly open: number; readonly begun: number };
  /** For the first look: bytes have moved since the last look before the stop. Without one, they may have. */
  readonly movedBefore: boolean;
}

export function followUse(previous: EnvoyUse | undefined, look: EnvoyLook): EnvoyUse {
  const { atMs, own, movedBefore } = look;
  const { inbound } = look.activity;
  const outbound = withoutOwn(look.activity.outbound, own);
  const busy = inbound.requests + inbound.connections > 0;
  const shared = { inbound, outbound, quietSinceMs: busy ? undefined : atMs };
  if (previous === undefined) {
    const movedAtMs = movedBefore ? atMs : Number.NEGATIVE_INFINITY;
    return { ...shared, lastCallMs: Number.NEGATIVE_INFINITY, movedAtMs };
  }
  const goesOn = !busy && inbound.begun === previous.inbound.begun;
  return {
    ...shared,
    quietSinceMs: goesOn ? (previous.quietSinceMs ?? atMs) : shared.quietSinceMs,
    lastCallMs: outbound.begun > previous.outbound.begun ? atMs : previous.lastCallMs,
    movedAtMs: outbound.receivedBytes > previous.outbound.receivedBytes ? atMs : previous.movedAtMs,
  };
}

/** A copy whose quiet counts from `atMs` on. */
export function quietFrom(use: EnvoyUse | undefined, atMs: number): EnvoyUse | undefined {
  if (use?.quietSinceMs === undefined) return use;
  return { ...use, quietSinceMs: Math.max(use.quietSinceMs, atMs) };
}

/** Subtracts the agent's own connections from the listeners that have the most. */
function withoutOwn(outbound: OutboundTraffic, own: EnvoyLook['own']): OutboundTraffic {
  let left = own.open;
  const open = outbound.open
    .toSorted((a, b) => b.connections - a.connections)
    .flatMap(({ listener, connections }) => {
      const taken = Math.min(left, connections);
      left -= taken;
      return connections > taken ? [{ listener, connections: connections - taken }] : [];
    });
  return {
    ...outbound,
    open,
    connections: Math.max(0, outbound.connections - own.open),
    begun: outbound.begun - own.begun,
  };
}
