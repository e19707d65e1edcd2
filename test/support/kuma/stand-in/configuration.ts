import { parseDuration } from '../../../../kernel/duration.ts';
import { type StandInProxyType } from '../bootstrap-protocol.ts';
import { CommandError, type FlagName, type FlagValues } from './flags.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What `kuma-dp run` works with. */
export interface Configuration {
  readonly name: string;
  readonly mesh: string;
  readonly proxyType: StandInProxyType;
  readonly drainTimeMs: number;
  readonly controlPlaneUrl: string;
  /** PEM. Wins over the file. */
  readonly caCert: string;
  readonly caCertFile: string;
  readonly skipVerify: boolean;
  readonly retryBackoffMs: number;
  readonly retryMaxMs: number;
  readonly resourcePath: string;
  readonly resource: string;
  readonly resourceVars: string;
  readonly tokenPath: string;
  readonly token: string;
  readonly workDir: string;
  readonly binaryPath: string;
  readonly concurrency: number;
  readonly readinessPort: number;
  readonly envoyLogLevel: string;
  readonly envoyComponentLogLevel: string;
}

interface Setting {
  readonly flag?: FlagName;
  readonly env?: string;
  readonly default: string;
}

/** @see kuma v2.14.3 pkg/config/app/kuma-dp/config.go */
const SETTINGS = {
  name: { flag: 'name', env: 'KUMA_DATAPLANE_NAME', default: '' },
  mesh: { flag: 'mesh', env: 'KUMA_DATAPLANE_MESH', default: '' },
  proxyType: { flag: 'proxy-type', env: 'KUMA_DATAPLANE_PROXY_TYPE', default: 'dataplane' },
  drainTime: { flag: 'drain-time', env: 'KUMA_DATAPLANE_DRAIN_TIME', default: '30s' },
  controlPlaneUrl: { flag: 'cp-address', env: 'KUMA_CONTROL_PLANE_URL', default: 'https://localhost:5678' },
  caCert: { env: 'KUMA_CONTROL_PLANE_CA_CERT', default: '' },
  caCertFile: { flag: 'ca-cert-file', env: 'KUMA_CONTROL_PLANE_CA_CERT_FILE', default: '' },
  skipVerify: { flag: 'skip-verify', env: 'KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY', default: 'false' },
  retryBackoff: { env: 'KUMA_CONTROL_PLANE_RETRY_BACKOFF', default: '3s' },
  retryMax: { env: 'KUMA_CONTROL_PLANE_RETRY_MAX_DURATION', default: '5m' },
  resourcePath: { flag: 'dataplane-file', env: 'KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH', default: '' },
  resource: { flag: 'dataplane', env: 'KUMA_DATAPLANE_RUNTIME_RESOURCE', default: '' },
  resourceVars: { flag: 'dataplane-var', default: '' },
  tokenPath: { flag: 'dataplane-token-file', env: 'KUMA_DATAPLANE_RUNTIME_TOKEN_PATH', default: '' },
  token: { flag: 'dataplane-token', env: 'KUMA_DATAPLANE_RUNTIME_TOKEN', default: '' },
  workDir: { flag: 'work-dir', env: 'KUMA_DATAPLANE_RUNTIME_WORK_DIR', default: '' },
  configDir: { flag: 'config-dir', env: 'KUMA_DATAPLANE_RUNTIME_CONFIG_DIR', default: '' },
  binaryPath: { flag: 'binary-path', env: 'KUMA_DATAPLANE_RUNTIME_BINARY_PATH', default: 'envoy' },
  concurrency: { flag: 'concurrency', env: 'KUMA_DATAPLANE_RUNTIME_CONCURRENCY', default: '0' },
  readinessPort: { env: 'KUMA_READINESS_PORT', default: '9902' },
  logLevel: { flag: 'log-level', default: 'info' },
  envoyLogLevel: { flag: 'envoy-log-level', env: 'KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL', default: '' },
  envoyComponentLogLevel: {
    flag: 'envoy-component-log-level',
    env: 'KUMA_DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL',
    default: '',
  },
} as const satisfies Record<string, Setting>;

const PROXY_TYPES: readonly string[] = ['dataplane', 'ingress', 'egress'];
const FIRST_WITHOUT_ZONE_PROXIES = 3;

/**
 * Flags, then the environment over them, as kuma-dp loads its configuration.
 *
 * @param version the stand-in's own: Kuma 3 has no zone proxy types
 * @throws {@link CommandError} in kuma-dp's words
 */
export function loadConfiguration(flags: FlagValues, env: Environment, version: string): Configuration {
  const read = (setting: Setting): string => {
    const fromEnv = setting.env === undefined ? undefined : env[setting.env];
    return fromEnv ?? (setting.flag === undefined ? undefined : flags.get(setting.flag)) ?? setting.default;
  };
  const configuration: Configuration = {
    name: read(SETTINGS.name),
    mesh: read(SETTINGS.mesh),
    proxyType: read(SETTINGS.proxyType) as StandInProxyType,
    drainTimeMs: duration(SETTINGS.drainTime, read),
    controlPlaneUrl: read(SETTINGS.controlPlaneUrl),
    caCert: read(SETTINGS.caCert),
    caCertFile: read(SETTINGS.caCertFile),
    skipVerify: /^(1|t|T|TRUE|true|True)$/.test(read(SETTINGS.skipVerify)),
    retryBackoffMs: duration(SETTINGS.retryBackoff, read),
    retryMaxMs: duration(SETTINGS.retryMax, read),
    resourcePath: read(SETTINGS.resourcePath),
    resource: read(SETTINGS.resource),
    resourceVars: read(SETTINGS.resourceVars),
    tokenPath: read(SETTINGS.tokenPath),
    token: read(SETTINGS.token),
    workDir: read(SETTINGS.workDir) === '' ? read(SETTINGS.configDir) : read(SETTINGS.workDir),
    binaryPath: read(SETTINGS.binaryPath),
    concurrency: Number(read(SETTINGS.concurrency)),
    readinessPort: Number(read(SETTINGS.readinessPort)),
    envoyLogLevel:
      read(SETTINGS.envoyLogLevel) === '' ? read(SETTINGS.logLevel) : read(SETTINGS.envoyLogLevel),
    envoyComponentLogLevel: read(SETTINGS.envoyComponentLogLevel),
  };
  validate(configuration, version);
  return configuration;
}

function duration(setting: Setting, read: (setting: Setting) => string): number {
  const durationMs = parseDuration(read(setting));
  if (durationMs !== undefined) return durationMs;
  throw new CommandError(
    `processing environment variables failed: envconfig.Process: assigning ${setting.env ?? ''}: time: invalid duration ${JSON.stringify(read(setting))}`,
  );
}

function validate(configuration: Configuration, version: string): void {
  const { drainTimeMs, readinessPort } = configuration;
  const problems = [...identityProblems(configuration, version)];
  if (drainTimeMs <= 0) problems.push('.DrainTime must be positive');
  if (!(readinessPort > 0 && readinessPort <= 65_535)) {
    problems.push('.ReadinessPort must be in the range (0, 65535]');
  }
  if (problems.length === 0) return;
  throw new CommandError(`configuration validation failed: .Dataplane is not valid: ${problems.join('; ')}`);
}

function identityProblems(configuration: Configuration, version: string): readonly string[] {
  const { proxyType, mesh, name, resource, resourcePath } = configuration;
  const zoneProxy = proxyType === 'ingress' || proxyType === 'egress';
  const known =
    PROXY_TYPES.includes(proxyType) &&
    (!zoneProxy || Number.parseInt(version, 10) < FIRST_WITHOUT_ZONE_PROXIES);
  const problems = known ? [] : [`.ProxyType "${proxyType}" is not supported`];
  const templated = resource !== '' || resourcePath !== '';
  if (!templated && mesh === '' && !zoneProxy) problems.push('.Mesh must be non-empty');
  if (!templated && name === '') problems.push('.Name must be non-empty');
  return problems;
}
