import { collectDefaultMetrics, Registry } from 'prom-client';

import { agentMetrics } from '../../agent/metrics/metrics.io.ts';
import { INITIAL_PHASE } from '../../agent/stop/step.pure.ts';
import { NO_COUNTERS } from '../../agent/metrics/counters.pure.ts';
import { createMetrics } from '../../control-plane/server/metrics.io.ts';

/** One metric of a program, as its code declares it. */
export interface KnownMetric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

export function agentCatalogue(): readonly KnownMetric[] {
  return metricsOf(
    agentMetrics({
      read: () => ({
        phase: INITIAL_PHASE,
        stopBudgetMs: 1_000,
        dataplane: undefined,
        counters: NO_COUNTERS,
      }),
      startedAtMs: 0,
    }),
  );
}

/** Without the metrics that prom-client has for every program. */
export function companionCatalogue(): readonly KnownMetric[] {
  const registry = new Registry();
  createMetrics(registry);
  return metricsOf(registry);
}

/** `process_…` and `nodejs_…`, which the companion has as well. */
export function defaultCatalogue(): readonly KnownMetric[] {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const found = metricsOf(registry);
  registry.clear();
  return found;
}

function metricsOf(registry: Registry): readonly KnownMetric[] {
  return registry.getMetricsAsArray().map((metric) => {
    const { name, help, type, labelNames = [] } = metric as typeof metric & { labelNames?: string[] };
    return { name, help, type: String(type), labels: labelNames };
  });
}

/** By the end of a name, as Prometheus' naming convention has it. */
export function unitOf({ name }: KnownMetric): string {
  if (/_timestamp_seconds$|^process_start_time_seconds$/.test(name)) return 'seconds since 1970';
  if (/_seconds(_total)?$/.test(name)) return 'seconds';
  if (name.endsWith('_bytes')) return 'bytes';
  return name.endsWith('_info') || STATES.test(name) ? '0 or 1' : 'count';
}

/** Gauges that say yes or no. */
const STATES = /_(up|phase|rotation|known|attached)$/;

/** The row of a metric in the documentation, which says once how names tell the other units. */
export function rowOf(metric: KnownMetric): string {
  const labels = metric.labels.map((label) => `\`${label}\``).join(', ');
  const type = unitOf(metric) === '0 or 1' ? `${metric.type}, 0 or 1` : metric.type;
  return `\`${metric.name}\` | ${type} | ${labels} | ${metric.help}`;
}
