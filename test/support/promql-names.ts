import type { KnownMetric } from './metric-catalogue.ts';

/** What every scraped series has, whatever its program. */
const OF_EVERY_TARGET: readonly string[] = ['job', 'instance'];
const UP: KnownMetric = { name: 'up', type: 'gauge', labels: [], help: '' };
const NAME = /\b(?:kuma_|process_|nodejs_)\w+|\bup\b/g;
const SELECTOR = /(\b\w+)\{([^}]*)\}/g;
const GROUPING = /\b(?:by|on|without|ignoring)\s*\(([^)]*)\)/g;

/**
 * Names in an expression, or in a text made of its result, that no program has.
 *
 * @param said labels that are named outside of the expression: in a legend, or in an annotation
 */
export function unknownNames(
  expression: string,
  catalogue: readonly KnownMetric[],
  said: readonly string[] = [],
): readonly string[] {
  const known = new Map(
    [...catalogue, UP].flatMap((metric) => seriesOf(metric).map((name) => [name, metric])),
  );
  const names = [...expression.replaceAll(/"[^"]*"/g, '""').matchAll(NAME)].map(([name]) => name);
  const labelsOf = (name: string): readonly string[] => [
    ...OF_EVERY_TARGET,
    ...(known.get(name)?.labels ?? []),
    ...(name.endsWith('_bucket') ? ['le'] : []),
  ];
  const unknown = names.filter((name) => !known.has(name));
  const selected = [...expression.matchAll(SELECTOR)].flatMap(([, name = '', matchers = '']) =>
    labelNames(matchers)
      .filter((label) => !labelsOf(name).includes(label))
      .map((label) => `${name}{${label}}`),
  );
  const everywhere = names.flatMap(labelsOf);
  const grouped = [...expression.matchAll(GROUPING)].flatMap(([, list = '']) =>
    list.split(',').map((each) => each.trim()),
  );
  return [...unknown, ...selected, ...[...grouped, ...said].filter((label) => !everywhere.includes(label))];
}

function seriesOf({ name, type }: KnownMetric): readonly string[] {
  return type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
}

function labelNames(matchers: string): readonly string[] {
  return [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label = '']) => label);
}
