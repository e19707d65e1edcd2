/**
 * Envoy's activity, from its admin answers.
 *
 * @see recorded `envoy-stats-*.txt` of 2.10.1, 2.14.3 and 3.0
 */
export interface Activity {
  /** From peers and clients to the application. */
  readonly inbound: Traffic;
  /** From the application to others, and everything for which Envoy gives no direction. */
  readonly outbound: OutboundTraffic;
}

export interface Traffic {
  /** Requests, streams and upgraded connections in progress. */
  readonly requests: number;
  /** Open connections that are not HTTP. Nothing shows whether they are in use. */
  readonly connections: number;
  /** Requests and other connections that ever began. A request shorter than the polling interval shows only here. */
  readonly begun: number;
}

export interface OutboundTraffic extends Traffic {
  /** Open connections of any kind, by listener; only listeners that have some. */
  readonly open: readonly OpenConnections[];
  /** Bytes ever received on connections that are not HTTP. */
  readonly receivedBytes: number;
}

export interface OpenConnections {
  /** The listener's name, or what its counters are called where it has none. */
  readonly listener: string;
  readonly connections: number;
}

/** Passed to the admin's `/stats?filter=`. */
export const ACTIVITY_STATS_FILTER =
  '^((http|listener)\\..*\\.downstream_(rq|cx)_(active|total)|tcp\\..*\\.downstream_cx_rx_bytes_total)$';

/** `own`: kuma-dp's own, no user's traffic. */
export type Direction = 'inbound' | 'outbound' | 'own';

/** Inbound listeners by their name in the stats (`http.`, `tcp.`, `listener.`). Others are outbound. */
export interface Directions {
  readonly filters: ReadonlyMap<string, Direction>;
  readonly listeners: ReadonlyMap<string, { readonly direction: Direction; readonly name: string }>;
}

export const NO_DIRECTIONS: Directions = { filters: new Map(), listeners: new Map() };

const STAT_LINE =
  /^(http|listener|tcp)\.(.+)\.downstream_(rq_active|rq_total|cx_active|cx_total|cx_rx_bytes_total): (\d+)$/;
const ADMIN = 'admin';

type Counter = 'rq_active' | 'rq_total' | 'cx_active' | 'cx_total' | 'cx_rx_bytes_total';

interface Sums {
  readonly http: Record<Counter, number>;
  readonly listener: Record<Counter, number>;
  readonly tcp: Record<Counter, number>;
}

/** Sums the counters in the text form of `/stats`. */
export function readActivity(statsText: string, directions: Directions): Activity {
  const sums: Record<Direction, Sums> = { inbound: noSums(), outbound: noSums(), own: noSums() };
  const open: OpenConnections[] = [];
  for (const stat of statsOf(statsText)) {
    const { scope, name, counter, value } = stat;
    const { direction, listener } = placeOf(stat, directions);
    sums[direction][scope][counter] += value;
    const opened = scope === 'listener' && counter === 'cx_active' && direction === 'outbound' && value > 0;
    if (opened) open.push({ listener: listener ?? name, connections: value });
  }
  const { inbound, outbound } = sums;
  return {
    inbound: trafficOf(inbound),
    outbound: { ...trafficOf(outbound), open, receivedBytes: outbound.tcp.cx_rx_bytes_total },
  };
}

interface Stat {
  readonly scope: keyof Sums;
  readonly name: string;
  readonly counter: Counter;
  readonly value: number;
}

/** The stats of {@link ACTIVITY_STATS_FILTER}, without the admin listener and the workers' shares. */
export function* statsOf(statsText: string): Generator<Stat> {
  for (const line of statsText.split('\n')) {
    const match = STAT_LINE.exec(line);
    if (match === null) continue;
    const [, scope, name = '', counter, value] = match;
    if (!isSummary(name)) continue;
    yield { scope: scope as keyof Sums, name, counter: counter as Counter, value: Number(value) };
  }
}

/** Which direction a counter belongs to, and what its listener is called. */
export function placeOf(
  { scope, name }: Pick<Stat, 'scope' | 'name'>,
  { filters, listeners }: Directions,
): { readonly direction: Direction; readonly listener: string | undefined } {
  if (scope !== 'listener') return { direction: filters.get(name) ?? 'outbound', listener: undefined };
  const listener = listeners.get(name);
  return { direction: listener?.direction ?? 'outbound', listener: listener?.name };
}

function noCounts(): Record<Counter, number> {
  return { rq_active: 0, rq_total: 0, cx_active: 0, cx_total: 0, cx_rx_bytes_total: 0 };
}

function noSums(): Sums {
  return { http: noCounts(), listener: noCounts(), tcp: noCounts() };
}

/** If an HTTP filter has counted a connection and its listener has not yet, the difference is zero, not negative. */
function trafficOf({ http, listener }: Sums): Traffic {
  return {
    requests: http.rq_active,
    connections: Math.max(0, listener.cx_active - http.cx_active),
    begun: http.rq_total + Math.max(0, listener.cx_total - http.cx_total),
  };
}

/** The stats list each worker's share beside the listener's sum; only this agent uses the admin listener. */
function isSummary(name: string): boolean {
  return name !== ADMIN && !/\.(worker_\d+|main_thread)$/.test(name);
}

interface ListenerDump {
  readonly name?: string;
  readonly stat_prefix?: string;
  readonly traffic_direction?: string;
  readonly address?: unknown;
  readonly filter_chains?: readonly {
    readonly filters?: readonly { readonly typed_config?: StatPrefixed }[];
  }[];
  readonly default_filter_chain?: { readonly filters?: readonly { readonly typed_config?: StatPrefixed }[] };
}
interface StatPrefixed {
  readonly stat_prefix?: string;
}

/** @param dump body of `/config_dump?resource=dynamic_listeners` */
export function readDirections(dump: unknown): Directions {
  const filters = new Map<string, Direction>();
  const listeners = new Map<string, { readonly direction: Direction; readonly name: string }>();
  for (const dumped of listenersOf(dump)) {
    const direction = directionOf(dumped);
    const chains = [...(dumped.filter_chains ?? []), dumped.default_filter_chain ?? {}];
    for (const { typed_config: filter } of chains.flatMap((chain) => chain.filters ?? [])) {
      const prefix = filter?.stat_prefix;
      // Counters that both directions share cannot be separated. Peers' requests must not count as the application's.
      if (prefix !== undefined && filters.get(prefix) !== 'inbound') filters.set(prefix, direction);
    }
    for (const stat of listenerStatNames(dumped))
      listeners.set(stat, { direction, name: dumped.name ?? stat });
  }
  return { filters, listeners };
}

/**
 * kuma-dp reads its dynamic configuration and Envoy's metrics over listeners of its own, which have no direction.
 *
 * @see kuma 2.14.3: pkg/xds/dynconf/listener.go, pkg/core/system_names/system_names.go
 */
function directionOf({ name = '', traffic_direction: direction }: ListenerDump): Direction {
  if (/^(_kuma:|system_)/.test(name)) return 'own';
  return direction === 'INBOUND' ? 'inbound' : 'outbound';
}

function listenersOf(dump: unknown): readonly ListenerDump[] {
  const { configs } = dump as { readonly configs?: readonly unknown[] };
  return (configs ?? []).flatMap((config) => {
    const { active_state: state } = config as {
      readonly active_state?: { readonly listener?: ListenerDump };
    };
    return state?.listener ?? [];
  });
}

/** Envoy names a listener's stats after its `stat_prefix`, else after its address with `:` as `_`. */
function listenerStatNames(listener: ListenerDump): readonly string[] {
  const socket = (
    listener.address as
      | { readonly socket_address?: { readonly address?: string; readonly port_value?: number } }
      | undefined
  )?.socket_address;
  const byAddress =
    socket?.address === undefined ? [] : [`${socket.address.replaceAll(':', '_')}_${socket.port_value ?? 0}`];
  const bracketed =
    socket?.address?.includes(':') === true
      ? [`[${socket.address}]_${socket.port_value ?? 0}`.replaceAll(':', '_')]
      : [];
  return [
    ...(listener.stat_prefix === undefined || listener.stat_prefix === '' ? [] : [listener.stat_prefix]),
    ...byAddress,
    ...bracketed,
  ];
}

/** Follows {@link Traffic} over time; immutable. */
export interface Quiet {
  readonly begun: number;
  readonly sinceMs: number;
}

/**
 * @returns since when nothing has been active and nothing new has begun, or `undefined` while something is
 */
export function followQuiet(previous: Quiet | undefined, traffic: Traffic, atMs: number): Quiet | undefined {
  if (traffic.requests + traffic.connections > 0) return undefined;
  if (previous !== undefined && previous.begun === traffic.begun) return previous;
  return { begun: traffic.begun, sinceMs: atMs };
}

/**
 * Whether Envoy has listeners of a builtin gateway, and none of a sidecar.
 *
 * @see kuma 2.14.3: pkg/plugins/runtime/gateway/listener_generator.go, `SERVICE:PROTOCOL:PORT`
 */
export function isBuiltinGateway({ listeners }: Directions): boolean {
  const inbound = [...listeners.values()].filter(({ direction }) => direction === 'inbound');
  return (
    inbound.some(({ name }) => /^.+:(HTTP|HTTPS|TCP|TLS):\d+$/.test(name)) &&
    !inbound.some(({ name }) => /^(inbound:|self_inbound)/.test(name))
  );
}

/** The TCP ports of outbound listeners. */
export function outboundPorts({ listeners }: Directions): ReadonlySet<number> {
  const ports = [...listeners].flatMap(([stat, { direction }]) =>
    direction === 'outbound' ? [Number(/_(\d+)$/.exec(stat)?.[1] ?? Number.NaN)] : [],
  );
  return new Set(ports.filter(Number.isInteger));
}

interface ListenerStatus {
  readonly local_address?: {
    readonly socket_address?: { readonly address?: string; readonly port_value?: number };
  };
}

/**
 * Whether Envoy listens on every one of `ports`.
 *
 * @param listeners body of `/listeners?format=json`
 */
export function hasListeners(listeners: unknown): boolean {
  const { listener_statuses: statuses } = listeners as { readonly listener_statuses?: readonly unknown[] };
  return statuses !== undefined && statuses.length > 0;
}

export function listensOn(
  listeners: unknown,
  ports: readonly { readonly address: string; readonly port: number }[],
): boolean {
  const { listener_statuses: statuses } = listeners as {
    readonly listener_statuses?: readonly ListenerStatus[];
  };
  const open = (statuses ?? []).flatMap((status) => status.local_address?.socket_address ?? []);
  return ports.every(({ port }) => open.some((socket) => socket.port_value === port));
}
