import * as z from 'zod/mini';

import { parseDuration } from '../kernel/duration.ts';

/** The facts of a control plane, from `GET /` and `GET /config`, that a departure depends on. */
export interface ControlPlaneFacts {
  readonly version: string | undefined;
  readonly instanceId: string | undefined;
  /** `zone` and `standalone` may write dataplanes, `global` may not. */
  readonly mode: string | undefined;
  /** Longest time from a deleted object to its peers' endpoint lists: store cache + refresh interval. */
  readonly propagationMs: number;
  /**
   * How long the control plane waits after a closed stream before it deletes the object. 0 disables the wait;
   * `undefined` where the control plane has not said it.
   */
  readonly deregistrationDelayMs: number | undefined;
  /** Longest time from a failed health check of Envoy to the inbound being NotReady; `undefined` if HDS is off. */
  readonly hdsDelayMs: number | undefined;
  /** `multizone.zone.name`; `undefined` where `GET /config` cannot be read. */
  readonly zoneName?: string | undefined;
  /**
   * `clusterId` of `GET /`. `undefined` if there is none yet, or if the control plane's store is in memory: then each
   * start makes a new one.
   */
  readonly clusterId?: string | undefined;
  /** Left out where the zone is not federated, or does not say so. */
  readonly otherZones?: OtherZones | undefined;
}

/** How long dataplanes of other zones take to learn of a change in this one, at the longest. */
export interface OtherZones {
  /** How long until other zones know that a zone ingress is gone. */
  readonly ingressMs: number;
  /** How long until other zones know that the last dataplane of a service is gone. */
  readonly lastOfServiceMs: number;
}

/** Kuma's default, the same in 2.7, 2.10, 2.14 and 3.0. */
export const DEFAULT_DEREGISTRATION_DELAY_MS = 10_000;

/** The facts before a control plane has answered: Kuma's defaults, the same in 2.7, 2.10, 2.14 and 3.0. */
export const DEFAULT_FACTS: ControlPlaneFacts = {
  version: undefined,
  instanceId: undefined,
  mode: undefined,
  propagationMs: 2_000,
  deregistrationDelayMs: undefined,
  hdsDelayMs: undefined,
};

const Index = z.looseObject({
  version: z.string(),
  instanceId: z.optional(z.string()),
  clusterId: z.optional(z.string()),
});

const Duration = z.pipe(
  z.string(),
  z.transform((text, context) => {
    const durationMs = parseDuration(text);
    if (durationMs !== undefined) return durationMs;
    context.issues.push({ code: 'custom', message: 'not a duration', input: text });
    return z.NEVER;
  }),
);

const EventBasedKds = z.looseObject({
  enabled: z.optional(z.boolean()),
  flushInterval: z.optional(Duration),
});

const Config = z.looseObject({
  mode: z.optional(z.string()),
  store: z.looseObject({ cache: z.looseObject({ enabled: z.boolean(), expirationTime: Duration }) }),
  xdsServer: z.looseObject({
    dataplaneConfigurationRefreshInterval: Duration,
    dataplaneDeregistrationDelay: z.optional(Duration),
  }),
  dpServer: z.optional(
    z.looseObject({
      hds: z.optional(
        z.looseObject({
          enabled: z.boolean(),
          interval: Duration,
          checkDefaults: z.optional(z.looseObject({ interval: Duration })),
        }),
      ),
    }),
  ),
  multizone: z.optional(
    z.looseObject({
      zone: z.optional(
        z.looseObject({
          globalAddress: z.optional(z.string()),
          ingressUpdateInterval: z.optional(Duration),
          kds: z.optional(z.looseObject({ refreshInterval: z.optional(Duration) })),
        }),
      ),
      global: z.optional(
        z.looseObject({ kds: z.optional(z.looseObject({ refreshInterval: z.optional(Duration) })) }),
      ),
    }),
  ),
  experimental: z.optional(
    z.looseObject({
      kdsEventBasedWatchdog: z.optional(EventBasedKds),
    }),
  ),
});

/** Each part may be missing on its own. */
const ZoneConfig = z.looseObject({
  multizone: z.optional(z.looseObject({ zone: z.optional(z.looseObject({ name: z.optional(z.string()) })) })),
  store: z.optional(z.looseObject({ type: z.optional(z.string()) })),
});

function readZone(
  { clusterId }: { readonly clusterId?: string | undefined },
  config: unknown,
): Pick<ControlPlaneFacts, 'zoneName' | 'clusterId'> {
  const { data } = z.safeParse(ZoneConfig, config);
  const isLasting = data?.store?.type !== 'memory' && clusterId !== '';
  const name = data?.multizone?.zone?.name;
  return {
    zoneName: name === '' ? undefined : name,
    clusterId: isLasting ? clusterId : undefined,
  };
}

/** @returns `undefined` where changes between zones are not sent by events, but looked for at intervals */
function flushIntervalMs(events: z.infer<typeof EventBasedKds> | undefined): number | undefined {
  return events?.enabled === true ? (events.flushInterval ?? 5_000) : undefined;
}

/** Kuma's default of every interval between zones. */
const KDS_INTERVAL_MS = 1_000;

function kdsIntervalMs(
  side: { readonly kds?: { readonly refreshInterval?: number | undefined } | undefined } | undefined,
): number {
  return side?.kds?.refreshInterval ?? KDS_INTERVAL_MS;
}

/**
 * News of a deleted ingress goes from this zone's control plane to the global one and from there to the other zones.
 * Each step takes a cache and an interval, and the xDS refresh comes last. When a service has lost its last dataplane,
 * the zone's ingress has to be updated first. The intervals of the global control plane and of the other zones are
 * unknown here; the same ones are assumed.
 *
 * @see kuma 2.14.3: pkg/config/multizone, pkg/kds, pkg/plugins/runtime/universal/outbound (available services)
 */
function otherZonesOf(config: z.infer<typeof Config>): OtherZones | undefined {
  const { store, xdsServer, multizone, experimental } = config;
  const { zone, global } = multizone ?? {};
  if ((zone?.globalAddress ?? '') === '') return undefined;
  const cacheMs = store.cache.enabled ? store.cache.expirationTime : 0;
  const flushMs = flushIntervalMs(experimental?.kdsEventBasedWatchdog);
  const legsMs = flushMs === undefined ? kdsIntervalMs(zone) + kdsIntervalMs(global) : 2 * flushMs;
  const ingressMs = 3 * cacheMs + legsMs + xdsServer.dataplaneConfigurationRefreshInterval;
  const updateMs = zone?.ingressUpdateInterval ?? KDS_INTERVAL_MS;
  return { ingressMs, lastOfServiceMs: ingressMs + cacheMs + updateMs };
}

/**
 * @param index body of `GET /`
 * @param config body of `GET /config`; where it cannot be read, Kuma's defaults stand in
 * @returns `undefined` if `index` is not a Kuma control plane's
 * @see recorded answers of 2.10.1, 2.14.3 and 3.0: `index.json`, `config.json`
 */
export function readFacts(index: unknown, config: unknown): ControlPlaneFacts | undefined {
  const parsedIndex = z.safeParse(Index, index);
  if (!parsedIndex.success) return undefined;
  const { version, instanceId } = parsedIndex.data;
  const zone = readZone(parsedIndex.data, config);
  const parsed = z.safeParse(Config, config);
  if (!parsed.success) return { ...DEFAULT_FACTS, version, instanceId, ...zone };
  const { mode, store, xdsServer, dpServer } = parsed.data;
  const cacheMs = store.cache.enabled ? store.cache.expirationTime : 0;
  const hds = dpServer?.hds;
  const otherZones = otherZonesOf(parsed.data);
  return {
    version,
    instanceId,
    ...zone,
    mode,
    propagationMs: cacheMs + xdsServer.dataplaneConfigurationRefreshInterval,
    deregistrationDelayMs: xdsServer.dataplaneDeregistrationDelay ?? DEFAULT_DEREGISTRATION_DELAY_MS,
    hdsDelayMs: hds?.enabled === true ? hds.interval + (hds.checkDefaults?.interval ?? 1_000) : undefined,
    ...(otherZones === undefined ? {} : { otherZones }),
  };
}

/** Whether this control plane accepts writes of dataplanes. One that does not state its mode counts as such. */
export function takesDataplanes(mode: string | undefined): boolean {
  return mode === undefined || mode === 'zone' || mode === 'standalone';
}

/**
 * Whether this control plane refuses a name until the old stream of that name is deregistered: only one active stream
 * per dataplane. True for 2.7.12+, 2.8.7+, 2.9.4+, everything from 2.10.0 on, and unknown versions.
 *
 * @see https://github.com/kumahq/kuma/pull/12886
 */
export function refusesSameName(version: string | undefined): boolean {
  const parsed = parseVersion(version);
  if (parsed === undefined) return true;
  const [major, minor, patch] = parsed;
  // 0.0.0-preview is what builds from Kuma's main branch call themselves.
  if (major === 0 || major > 2 || (major === 2 && minor >= 10)) return true;
  const firstRefusing: Readonly<Record<number, number>> = { 7: 12, 8: 7, 9: 4 };
  return major === 2 && patch >= (firstRefusing[minor] ?? Number.POSITIVE_INFINITY);
}

/** Major, minor and patch of `2.14.3`, `v2.10.11` or `3.0.0-preview.v1`. */
export function parseVersion(version: string | undefined): readonly [number, number, number] | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version ?? '');
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3])];
}
