import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';

import { cellsOf, rowsOf } from '../support/documents.ts';
import {
  agentCatalogue,
  companionCatalogue,
  defaultCatalogue,
  rowOf,
  unitOf,
  type KnownMetric,
} from '../support/metric-catalogue.ts';
import { unknownNames } from '../support/promql-names.ts';
import { promtool } from '../support/promtool.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'docs', 'operate', 'monitoring');
const METRICS = join(FOLDER, '..', '..', 'reference');
const README = readFileSync(join(METRICS, 'metrics.md'), 'utf8');
const PROGRAMS = { agent: agentCatalogue(), companion: companionCatalogue() };
const CATALOGUE = [...PROGRAMS.agent, ...PROGRAMS.companion, ...defaultCatalogue()];

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

const RULES = parse(read('alerts.yaml')) as Rules;
const ALERTS = RULES.groups.flatMap(({ rules }) => rules);

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}

const DASHBOARD_TEXT = read('dashboard.json');
const DASHBOARD = JSON.parse(DASHBOARD_TEXT) as Dashboard;
const QUERIES = DASHBOARD.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat }) => ({ title, expr, legendFormat })),
);

function read(name: string): string {
  return readFileSync(join(FOLDER, name), 'utf8');
}

/** `{{ $labels.mesh }}` of a rule, `{{mesh}}` of a legend. */
function labelsSaid(text: string): readonly string[] {
  return [...text.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)[^}]*\}\}/g)].flatMap(([said, label = '']) =>
    said.includes('$value') ? [] : [label],
  );
}

describe('docs/reference/metrics.md', () => {
  const rows = rowsOf(README).filter(([first = '']) => /^`(kuma|process)_/.test(first));

  test('has each metric of both programs as the code has it, in its order, and no other', () => {
    expect(rows).toEqual([...PROGRAMS.agent, ...PROGRAMS.companion].map((metric) => cellsOf(rowOf(metric))));
  });

  test('says of the scrape of the companion that it needs a token beyond loopback', () => {
    expect(README).toMatch(/Beyond loopback it needs `--http-token-file`/);
  });

  test.for([...README.matchAll(/\]\(([\w./-]+)(?:#[\w-]+)?\)/g)].map(([, target = '']) => target))(
    'links to %s, which is there',
    (target) => {
      expect(readFileSync(join(METRICS, target), 'utf8').length).toBeGreaterThan(0);
    },
  );
});

test.for([...PROGRAMS.agent, ...PROGRAMS.companion].map((metric) => [metric.name, metric] as const))(
  '%s is named by the convention: a counter ends in _total, and what is measured in its base unit',
  ([name, metric]) => {
    expect(name.endsWith('_total')).toBe(metric.type === 'counter');
    expect(name).not.toMatch(/_(ms|milliseconds|minutes|kb|percent)(_|$)/);
    expect(metric.type !== 'histogram' || unitOf(metric) === 'seconds').toBe(true);
    expect(metric.help).toMatch(/^[A-Z][^.]+$/);
  },
);

describe('docs/operate/monitoring/alerts.yaml', () => {
  test.for(ALERTS.map((rule) => [rule.alert, rule] as const))(
    '%s speaks of what the programs have, says what it is about and where to look',
    ([alert, { expr, annotations, labels }]) => {
      const said = Object.values(annotations).flatMap(labelsSaid);
      expect(unknownNames(expr, CATALOGUE, said)).toEqual([]);
      expect(Object.keys(annotations)).toEqual(['summary', 'description', 'runbook_url']);
      expect(['info', 'warning', 'critical']).toContain(labels.severity);
      expect(annotations['runbook_url']).toBe(`docs/operate/monitoring/alerts.md#${alert.toLowerCase()}`);
    },
  );

  test('each alert has its entry in alerts.md, in the same order, and no other has', () => {
    const entries = read('alerts.md')
      .split('\n')
      .flatMap((line) => /^### (\w+)$/.exec(line)?.[1] ?? []);
    expect(entries).toEqual(ALERTS.map(({ alert }) => alert));
  });

  test('each alert is seen to fire, and not to fire just below', () => {
    const { tests } = parse(read('alerts.test.yaml')) as {
      readonly tests: readonly {
        readonly name: string;
        readonly promql_expr_test: readonly { readonly exp_samples: readonly unknown[] }[];
      }[];
    };
    const seen = tests.map(({ name, promql_expr_test: [one] }) => [name, one?.exp_samples.length]);
    expect(seen).toEqual(
      ALERTS.flatMap(({ alert }) => [
        [`${alert} fires`, 1],
        [`${alert} does not fire just below`, 0],
      ]),
    );
  });
});

describe('docs/operate/monitoring/dashboard.json', () => {
  test.for(QUERIES.map((query) => [query.title, query.expr, query] as const))(
    '"%s" speaks of what the programs have: %s',
    ([, expr, { legendFormat }]) => {
      expect(unknownNames(expr, CATALOGUE, labelsSaid(legendFormat))).toEqual([]);
    },
  );

  test('shows every metric of both programs', () => {
    const shown = QUERIES.map(({ expr }) => expr).join('\n');
    const missing = [...PROGRAMS.agent, ...PROGRAMS.companion].filter(({ name }) => !shown.includes(name));
    expect(missing.map(({ name }) => name)).toEqual(['kuma_dp_agent_companion_epoch']);
  });

  test('has a unit and a sentence for each panel, ids that differ, and panels that do not overlap', () => {
    const panels = DASHBOARD.panels.filter(({ type }) => type !== 'row');
    expect(panels.filter(({ description = '' }) => !/^[A-Za-z].+\.$/.test(description))).toEqual([]);
    expect(panels.filter(({ fieldConfig }) => fieldConfig?.defaults.unit === undefined)).toEqual([]);
    expect(new Set(DASHBOARD.panels.map(({ id }) => id)).size).toBe(DASHBOARD.panels.length);
    const overlapping = DASHBOARD.panels.filter(({ id, gridPos: a }) =>
      DASHBOARD.panels.some(
        ({ id: other, gridPos: b }) =>
          other > id && a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h,
      ),
    );
    expect(overlapping).toEqual([]);
  });

  test('queries only the chosen data source, for the chosen values', () => {
    expect(DASHBOARD_TEXT).not.toMatch(/https?:\/\//);
    const sources = [...DASHBOARD_TEXT.matchAll(/"uid": "([^"]+)"/g)].map(([, uid]) => uid);
    expect(new Set(sources)).toEqual(new Set(['kuma-dp-agent', '${datasource}']));
    expect(DASHBOARD.templating.list.map(({ name }) => name)).toEqual(['datasource', 'agent', 'companion']);
    expect(QUERIES.filter(({ expr }) => !/instance=~"\$(agent|companion)"/.test(expr))).toEqual([]);
  });
});

describe('the comparison with the programs', () => {
  const catalogue: readonly KnownMetric[] = [
    { name: 'kuma_x_total', type: 'counter', labels: ['mesh'], help: '' },
    { name: 'kuma_y_seconds', type: 'histogram', labels: [], help: '' },
  ];

  test.for<readonly [expression: string, unknown: readonly string[]]>([
    ['sum by (mesh) (rate(kuma_x_total{mesh="a", job="b"}[5m])) > 0', []],
    ['histogram_quantile(0.9, sum by (le) (kuma_y_seconds_bucket))', []],
    ['up{job="kuma_z"} == 0', []],
    ['kuma_z_total', ['kuma_z_total']],
    ['kuma_y_seconds', ['kuma_y_seconds']],
    ['kuma_x_total_sum', ['kuma_x_total_sum']],
    ['kuma_x_total{zone="a"}', ['kuma_x_total{zone}']],
    ['kuma_y_seconds_sum{mesh="a"} + kuma_x_total', ['kuma_y_seconds_sum{mesh}']],
    ['sum by (zone) (kuma_x_total)', ['zone']],
    ['sum by (le) (kuma_x_total)', ['le']],
  ])('of %s finds %o', ([expression, unknown]) => {
    expect(unknownNames(expression, catalogue)).toEqual(unknown);
  });

  test('looks at legends and annotations as well', () => {
    const said = labelsSaid('{{ $labels.mesh }} of {{zone}}: {{ $value | humanizeDuration }}');
    expect(unknownNames('kuma_x_total', catalogue, said)).toEqual(['zone']);
  });
});

// It reads days of samples: on a busy machine that takes minutes.
describe('promtool', { timeout: 240_000 }, () => {
  test('accepts the rules, and would notice a wrong word', (context) => {
    expect(promtool(context, ['check', 'rules', 'alerts.yaml'], { cwd: FOLDER })).toMatchObject({ code: 0 });
    using dir = new TemporaryDir();
    const broken = dir.join('broken.yaml');
    writeFileSync(broken, read('alerts.yaml').replace('increase(', 'increases('));
    expect(promtool(context, ['check', 'rules', broken])).toMatchObject({
      code: 1,
      output: expect.stringContaining('unknown function') as string,
    });
  });

  test('sees each alert fire, and not fire just below', (context) => {
    expect(promtool(context, ['test', 'rules', 'alerts.test.yaml'], { cwd: FOLDER })).toMatchObject({
      code: 0,
    });
  });

  const every = ALERTS.map(({ alert }) => alert);
  const always = ALERTS.map(({ alert, labels, annotations }) => ({
    alert,
    labels,
    annotations,
    expr: 'vector(1)',
  }));

  test.for<{ readonly rules: readonly Rule[]; readonly what: string; readonly noticed: readonly string[] }>([
    { what: 'each alert that is missing', rules: [], noticed: every },
    { what: 'each that always fires', rules: always, noticed: every },
    { what: 'nothing in the rules as they are', rules: ALERTS, noticed: [] },
  ])('notices $what', ({ rules, noticed }, context) => {
    using dir = new TemporaryDir();
    writeFileSync(dir.join('alerts.test.yaml'), read('alerts.test.yaml'));
    writeFileSync(dir.join('alerts.yaml'), stringify({ groups: [{ name: 'all', rules }] }));
    const { output } = promtool(context, ['test', 'rules', 'alerts.test.yaml'], { cwd: dir.path });
    const failures = ALERTS.filter(({ alert }) => output.includes(`alertname="${alert}"`));
    expect(failures.map(({ alert }) => alert)).toEqual(noticed);
  });

  test('accepts every expression of the dashboard', (context) => {
    using dir = new TemporaryDir();
    const rules = QUERIES.map(({ expr }, at) => ({
      record: `panel:${at}`,
      expr: expr.replaceAll(/\$__(rate_interval|range)/g, '5m'),
    }));
    writeFileSync(dir.join('queries.yaml'), stringify({ groups: [{ name: 'dashboard', rules }] }));
    expect(promtool(context, ['check', 'rules', dir.join('queries.yaml')])).toMatchObject({ code: 0 });
  });
});
