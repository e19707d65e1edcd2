import { formatListenerAddress, isLocal, readListenerAddressOrOff } from '../../kernel/listener-address.ts';
import {
  resolveConflict,
  textOption,
  valueOption,
  type OptionTable,
  type OptionValues,
  type ResolvedOptions,
} from '../../kernel/options.ts';

export const METRICS_OPTIONS = {
  metrics: valueOption({
    flag: 'metrics',
    placeholder: 'HOST:PORT|unix:PATH|off',
    default: 'off',
    help: 'Address of /metrics for Prometheus, one for each dataplane of a host. Beyond loopback only with --metrics-token-file',
    read: readListenerAddressOrOff,
  }),
  metricsTokenFile: textOption({
    flag: 'metrics-token-file',
    placeholder: 'FILE',
    help: 'Token (16 characters or more) that /metrics requires, as a Bearer token; read again when it changes',
  }),
  metricsCertificateFile: textOption({
    flag: 'metrics-cert-file',
    placeholder: 'FILE',
    help: 'PEM certificate of --metrics: HTTPS instead of HTTP; read again when it changes',
  }),
  metricsKeyFile: textOption({
    flag: 'metrics-key-file',
    placeholder: 'FILE',
    help: 'PEM key of --metrics-cert-file',
  }),
} as const;

export type MetricsOptions = OptionValues<typeof METRICS_OPTIONS>;

/** An invalid value in the environment costs only the listener. */
export function withMetrics<Table extends OptionTable & typeof METRICS_OPTIONS>(
  table: Table,
  resolved: ResolvedOptions<Table>,
): ResolvedOptions<Table> {
  const { metrics, metricsTokenFile, metricsCertificateFile, metricsKeyFile }: MetricsOptions =
    resolved.values;
  if ((metricsCertificateFile === undefined) !== (metricsKeyFile === undefined)) {
    return resolveConflict(table, resolved, {
      keys: ['metrics', 'metricsCertificateFile', 'metricsKeyFile'],
      problem:
        '--metrics-cert-file (KUMA_DP_AGENT_METRICS_CERT_FILE) and --metrics-key-file (KUMA_DP_AGENT_METRICS_KEY_FILE) go together',
    });
  }
  if (metrics === 'off' || isLocal(metrics) || metricsTokenFile !== undefined) return resolved;
  return resolveConflict(table, resolved, {
    keys: ['metrics'],
    problem: `--metrics (KUMA_DP_AGENT_METRICS): any host could read them at ${formatListenerAddress(metrics)}: only for loopback and Unix sockets, or with --metrics-token-file (KUMA_DP_AGENT_METRICS_TOKEN_FILE)`,
  });
}
