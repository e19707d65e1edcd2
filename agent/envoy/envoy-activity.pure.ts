/**
 * What Envoy's admin answers say about work in progress. Names of inbounds differ between Kuma lines and clusters of
 * the control plane always have a request open, so only downstream counters of listeners are read, whatever their
 * names, and what Envoy itself calls outbound is left out.
 *
 * @see recorded `envoy-stats-*.txt` of 2.10.1, 2.14.3 and 3.0
 */
export interface Activity {
  /** Requests (and streams, and upgraded connections) in progress, plus connections that are not HTTP. */
  readonly active: number;
  /** Ever begun. A request shorter than the polling interval shows only here. */
  readonly begun: number;
}

/** Passed to the admin's `/stats?filter=`. */
export const ACTIVITY_STATS_FILTER = '^(http|listener)\\..*\\.downstream_(rq|cx)_(active|total)$';

/** Names after `http.` and `listener.` in the stats. */
export interface OutboundNames {
  readonly http: ReadonlySet<string>;
  readonly listener: ReadonlySet<string>;
}

export const NO_OUTBOUNDS: OutboundNames = { http: new Set(), listener: new Set() };

const STAT = /^(http|listener)\.(.+)\.downstream_(rq|cx)_(active|total): (\d+)$/;
const ADMIN = 'admin';

/** Sums the counters in the text form of `/stats`. */
export function readActivity(statsText: string, outbound: OutboundNames): Activity {
  const requests = { active: 0, total: 0 };
  const httpConnections = { active: 0, total: 0 };
  const connections = { active: 0, total: 0 };
  for (const line of statsText.split('\n')) {
    const match = STAT.exec(line);
    if (match === null) continue;
    const [, scope, name = '', unit] = match;
    const kind = match[4] as 'active' | 'total';
    if (name === ADMIN || isPartOfListener(name)) continue;
    if (scope === 'listener') {
      if (!outbound.listener.has(name)) connections[kind] += Number(match[5]);
    } else if (!outbound.http.has(name)) {
      (unit === 'rq' ? requests : httpConnections)[kind] += Number(match[5]);
    }
  }
  const other = (kind: 'active' | 'total'): number => Math.max(0, connections[kind] - httpConnections[kind]);
  return { active: requests.active + other('active'), begun: requests.total + other('total') };
}

/** Each worker's share of a listener is listed beside the listener's sum. */
function isPartOfListener(name: string): boolean {
  return /\.(worker_\d+|main_thread)$/.test(name);
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
export function readOutboundNames(dump: unknown): OutboundNames {
  const http = new Set<string>();
  const listener = new Set<string>();
  const inbound = new Set<string>();
  for (const dumped of listenersOf(dump)) {
    const chains = [...(dumped.filter_chains ?? []), dumped.default_filter_chain ?? {}];
    const prefixes = chains
      .flatMap((chain) => chain.filters ?? [])
      .flatMap((filter) => filter.typed_config?.stat_prefix ?? []);
    const isOutbound = dumped.traffic_direction === 'OUTBOUND';
    for (const prefix of prefixes) (isOutbound ? http : inbound).add(prefix);
    if (isOutbound) for (const name of listenerStatNames(dumped)) listener.add(name);
  }
  return { http: http.difference(inbound), listener };
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

/** Follows {@link Activity} over time; immutable. */
export interface Quiet {
  readonly begun: number;
  readonly sinceMs: number;
}

/**
 * @returns since when nothing has been active and nothing new has begun, or `undefined` while something is
 */
export function followQuiet(
  previous: Quiet | undefined,
  activity: Activity,
  atMs: number,
): Quiet | undefined {
  if (activity.active > 0) return undefined;
  if (previous !== undefined && previous.begun === activity.begun) return previous;
  return { begun: activity.begun, sinceMs: atMs };
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
