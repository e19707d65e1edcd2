import { formatDuration } from '../../../kernel/duration.ts';
import { type GatewayListener } from './bootstrap-protocol.ts';
import { recordedText } from './recorded.ts';
import { type KumaVersion, traitsOf } from './version-traits.ts';

/** How a control plane is set up. Durations are milliseconds; every default is Kuma's own. */
export interface ControlPlaneSettings {
  readonly version: KumaVersion;
  /** A global control plane shows dataplanes and lets no caller write them. */
  readonly mode: 'zone' | 'global';
  readonly zone: string;
  readonly meshes: readonly string[];
  /** Address that all servers listen on. */
  readonly host: string;
  /** Ports; 0 means "any free one, and the same again after a restart". */
  readonly ports: { readonly http: number; readonly https: number; readonly dataplane: number };
  /** Which certificate of `test/fixtures/tls` the HTTPS and dataplane servers show. */
  readonly certificate: 'server' | 'expired' | 'wrong-name';
  /** Where objects survive a crash of the process. `undefined`: only in memory, which survives an in-process crash. */
  readonly storeFile: string | undefined;
  /** Where endpoints are published, one file per service. `undefined`: nowhere. */
  readonly endpointsDir: string | undefined;
  /** `KUMA_STORE_CACHE_EXPIRATION_TIME` */
  readonly storeCacheMs: number;
  /** `KUMA_XDS_SERVER_DATAPLANE_CONFIGURATION_REFRESH_INTERVAL` */
  readonly refreshMs: number;
  /** `KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY` */
  readonly deregistrationDelayMs: number;
  /** `KUMA_DP_SERVER_HDS_ENABLED` */
  readonly healthFeedback: boolean;
  /** `KUMA_DP_SERVER_HDS_CHECK_INTERVAL` */
  readonly healthCheckIntervalMs: number;
  /** `KUMA_DP_SERVER_HDS_INTERVAL` */
  readonly healthReportIntervalMs: number;
  /** `KUMA_METRICS_DATAPLANE_IDLE_TIMEOUT`: ghosts go offline after one to two of these. */
  readonly idleTimeoutMs: number;
  /** `KUMA_METRICS_DATAPLANE_SUBSCRIPTION_LIMIT` */
  readonly subscriptionLimit: number;
  /** `KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN`; off here, although Kuma's default is on: tests run on loopback. */
  readonly localhostIsAdmin: boolean;
  /** Bearer tokens that make an administrator. */
  readonly userTokens: readonly string[];
  /** `KUMA_BOOTSTRAP_SERVER_PARAMS_ADMIN_PORT`: Envoy's admin port where it has no socket. */
  readonly adminPort: number;
  /** `KUMA_MULTIZONE_ZONE_GLOBAL_ADDRESS`; `undefined`: a zone of its own. */
  readonly globalAddress: string | undefined;
  /** `KUMA_MULTIZONE_ZONE_KDS_REFRESH_INTERVAL`, and that of the global control plane. */
  readonly kdsRefreshMs: number;
  /** `KUMA_EXPERIMENTAL_KDS_EVENT_BASED_WATCHDOG_FLUSH_INTERVAL`; `undefined`: KDS is not event-based. */
  readonly kdsFlushMs: number | undefined;
  /** `KUMA_MULTIZONE_ZONE_INGRESS_UPDATE_INTERVAL` */
  readonly ingressUpdateMs: number;
  /** Envoys speak TLS to each other, with the service as server name, which zone proxies go by. */
  readonly mtls: boolean;
  /** Other zones are reached through the zone's egresses. */
  readonly zoneEgress: boolean;
  /** Protocols of services that are in no Dataplane of this zone. */
  readonly protocols: Readonly<Record<string, string>>;
  /** MeshGateways. */
  readonly gateways: readonly GatewayListener[];
  /** MeshTimeouts: by service, after which an upstream connection without a request is closed. */
  readonly idleTimeouts: Readonly<Record<string, number>>;
  /** Delays the answer to `POST /bootstrap`. */
  readonly bootstrapDelayMs: number;
}

export type ControlPlaneOptions = Partial<ControlPlaneSettings>;

const DEFAULTS: ControlPlaneSettings = {
  version: '2.14.3',
  mode: 'zone',
  zone: 'z1',
  meshes: ['default'],
  host: '127.0.0.1',
  ports: { http: 0, https: 0, dataplane: 0 },
  certificate: 'server',
  storeFile: undefined,
  endpointsDir: undefined,
  storeCacheMs: 1_000,
  refreshMs: 1_000,
  deregistrationDelayMs: 10_000,
  healthFeedback: true,
  healthCheckIntervalMs: 1_000,
  healthReportIntervalMs: 5_000,
  idleTimeoutMs: 300_000,
  subscriptionLimit: 2,
  localhostIsAdmin: false,
  userTokens: [],
  adminPort: 9901,
  globalAddress: undefined,
  kdsRefreshMs: 1_000,
  kdsFlushMs: undefined,
  ingressUpdateMs: 1_000,
  mtls: false,
  zoneEgress: false,
  protocols: {},
  gateways: [],
  idleTimeouts: {},
  bootstrapDelayMs: 0,
};

export function completeSettings(options: ControlPlaneOptions): ControlPlaneSettings {
  return { ...DEFAULTS, ...options };
}

/** One recorded exchange with a real control plane. */
export interface RecordedAnswer {
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly body?: unknown;
    readonly authorization?: string;
  };
  readonly status: number;
  readonly contentType: string;
  readonly body: unknown;
}

/** @param name file name without extension, for example `overview-online` */
export function recorded(version: KumaVersion, name: string): RecordedAnswer {
  return JSON.parse(recordedText(traitsOf(version).recordedAs, `${name}.json`)) as RecordedAnswer;
}

/** The body of `GET /config`: as recorded, with the settings at hand in place. */
export function effectiveConfig(settings: ControlPlaneSettings): unknown {
  const config = structuredClone(recorded(settings.version, 'config').body);
  const put = (path: string, value: unknown): void => {
    replace(config, path.split('.'), value);
  };
  put('mode', settings.mode);
  put('store.cache.expirationTime', formatDuration(settings.storeCacheMs));
  put('xdsServer.dataplaneConfigurationRefreshInterval', formatDuration(settings.refreshMs));
  put('xdsServer.dataplaneDeregistrationDelay', formatDuration(settings.deregistrationDelayMs));
  put('dpServer.hds.enabled', settings.healthFeedback);
  put('dpServer.hds.interval', formatDuration(settings.healthReportIntervalMs));
  put('dpServer.hds.checkDefaults.interval', formatDuration(settings.healthCheckIntervalMs));
  put('metrics.dataplane.subscriptionLimit', settings.subscriptionLimit);
  if (settings.idleTimeoutMs !== DEFAULTS.idleTimeoutMs) {
    put('metrics.dataplane.idleTimeout', formatDuration(settings.idleTimeoutMs));
  }
  put('apiServer.authn.localhostIsAdmin', settings.localhostIsAdmin);
  if (settings.globalAddress !== undefined) putFederation(config, settings, put);
  return config;
}

/** A zone of its own does not mention a global control plane. */
function putFederation(
  config: unknown,
  settings: ControlPlaneSettings,
  put: (path: string, value: unknown) => void,
): void {
  const { multizone } = config as { readonly multizone: { readonly zone: Record<string, unknown> } };
  multizone.zone['globalAddress'] = settings.globalAddress;
  put('multizone.zone.name', settings.zone);
  put('multizone.zone.ingressUpdateInterval', formatDuration(settings.ingressUpdateMs));
  put('multizone.zone.kds.refreshInterval', formatDuration(settings.kdsRefreshMs));
  put('multizone.global.kds.refreshInterval', formatDuration(settings.kdsRefreshMs));
  if (settings.kdsFlushMs === undefined) return;
  put('experimental.kdsEventBasedWatchdog.enabled', true);
  put('experimental.kdsEventBasedWatchdog.flushInterval', formatDuration(settings.kdsFlushMs));
}

/** @throws TypeError if the recorded configuration has no such field: then the emulator's idea of it is wrong */
function replace(target: unknown, path: readonly string[], value: unknown): void {
  const [field, ...rest] = path;
  if (field === undefined || typeof target !== 'object' || target === null || !(field in target)) {
    throw new TypeError(`The recorded configuration has no field: ${path.join('.')}`);
  }
  const fields = target as Record<string, unknown>;
  if (rest.length === 0) fields[field] = value;
  else replace(fields[field], rest, value);
}
