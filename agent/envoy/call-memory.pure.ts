import { placeOf, statsOf, type Directions } from './envoy-activity.pure.ts';

/** The values of Envoy's counters at one look, by the name of the counter. Counters at zero are left out. */
export interface RememberedLook {
  readonly atMs: number;
  readonly totals: ReadonlyMap<string, number>;
}

/** What the application did between a remembered look and now. */
export interface CallsSince {
  /** Outbound requests and connections that began. */
  readonly calls: number;
  /** Bytes moved on outbound connections that are not HTTP. */
  readonly moved: boolean;
}

const TOTALS: ReadonlySet<string> = new Set(['http.rq_total', 'listener.cx_total', 'tcp.cx_rx_bytes_total']);

/** @param statsText answer to `/stats` with `ACTIVITY_STATS_FILTER` */
export function readTotals(statsText: string): ReadonlyMap<string, number> {
  const totals = new Map<string, number>();
  for (const { scope, name, counter, value } of statsOf(statsText)) {
    if (value > 0 && TOTALS.has(`${scope}.${counter}`)) totals.set(`${scope}.${name}`, value);
  }
  return totals;
}

/** Keeps the looks of the last `windowMs`, and one older look. */
export function rememberLook(
  looks: readonly RememberedLook[],
  look: RememberedLook,
  windowMs: number,
): readonly RememberedLook[] {
  const firstOfWindow = looks.findLastIndex(({ atMs }) => look.atMs - atMs >= windowMs);
  return [...looks.slice(Math.max(0, firstOfWindow)), look];
}

/** The look to compare with: the newest that is at least `windowMs` old, else none. */
export function lookBefore(
  looks: readonly RememberedLook[],
  nowMs: number,
  windowMs: number,
): RememberedLook | undefined {
  return looks.findLast(({ atMs }) => nowMs - atMs >= windowMs);
}

/** @param before no look: Envoy has not run for longer, and its counters began at zero */
export function callsSince(
  before: RememberedLook | undefined,
  totals: ReadonlyMap<string, number>,
  directions: Directions,
): CallsSince {
  let calls = 0;
  let moved = false;
  for (const [key, total] of totals) {
    const dot = key.indexOf('.');
    const scope = key.slice(0, dot) as 'http' | 'listener' | 'tcp';
    if (placeOf({ scope, name: key.slice(dot + 1) }, directions).direction !== 'outbound') continue;
    const last = before?.totals.get(key) ?? 0;
    // An Envoy that was restarted counts from zero again.
    const grown = total < last ? total : total - last;
    if (scope === 'tcp') moved ||= grown > 0;
    else calls += grown;
  }
  return { calls, moved };
}
