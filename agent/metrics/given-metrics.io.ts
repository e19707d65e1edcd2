import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

import type { Distribution } from './counters.pure.ts';

type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];
interface DescribedMetric {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Metrics whose values are read at each scrape: nothing is counted here. */
export function gauge(registry: Registry, described: DescribedMetric, look: () => readonly Sample[]): void {
  const metric = new Gauge({
    ...configuration(described),
    collect() {
      show(this, look());
    },
  });
  registry.registerMetric(metric);
}

export function counter(registry: Registry, described: DescribedMetric, look: () => readonly Sample[]): void {
  const metric = new Counter({
    ...configuration(described),
    collect() {
      show(this, look());
    },
  });
  registry.registerMetric(metric);
}

function configuration({ name, help, labels = [] }: DescribedMetric) {
  return { name, help, labelNames: labels, registers: [] };
}

function show(metric: Pick<Counter, 'reset' | 'remove' | 'inc'>, samples: readonly Sample[]): void {
  metric.reset();
  // Without a label prom-client would show zero instead of no value.
  metric.remove({});
  for (const [labels, value] of samples) metric.inc(labels, value);
}

interface Distributed {
  readonly bounds: readonly number[];
  readonly look: () => readonly (readonly [labels: Labels, of: Distribution | undefined])[];
}

/** A histogram with given counts: prom-client's own only takes observations, and starts at zero. */
class GivenHistogram extends Histogram {
  readonly #described: DescribedMetric;
  readonly #distributed: Distributed;

  constructor(described: DescribedMetric, distributed: Distributed) {
    const { name, help, labels = [] } = described;
    super({ name, help, labelNames: labels, buckets: [...distributed.bounds], registers: [] });
    this.#described = described;
    this.#distributed = distributed;
  }

  /** A registry calls this; `get()` works as well. */
  getForPromString() {
    const { name, help } = this.#described;
    const { bounds, look } = this.#distributed;
    const values = look().flatMap(([labels, of]) =>
      of === undefined ? [] : seriesOf({ name, labels, bounds, of }),
    );
    return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values });
  }
}

function seriesOf(series: {
  readonly name: string;
  readonly labels: Labels;
  readonly bounds: readonly number[];
  readonly of: Distribution;
}) {
  const { name, labels, bounds, of } = series;
  let sofar = 0;
  const buckets = [...bounds, '+Inf' as const].map((le, at) => {
    sofar += of.counts[at] ?? 0;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: sofar };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: of.sumSeconds },
    { metricName: `${name}_count`, labels, value: sofar },
  ];
}

export function histogram(registry: Registry, described: DescribedMetric, distributed: Distributed): void {
  registry.registerMetric(new GivenHistogram(described, distributed));
}
