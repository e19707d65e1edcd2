import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { VERSION } from '../../../../kernel/version.ts';
import { agentMetrics } from '../../../../agent/metrics/metrics.io.ts';
import type { CountedRun, DataplaneView, RunView } from '../../../../agent/metrics/run-view.pure.ts';
import {
  NO_COUNTERS,
  Counters,
  countDeregistration,
  countStop,
} from '../../../../agent/metrics/counters.pure.ts';
import type { MetricsOptions } from '../../../../agent/metrics/metrics-options.pure.ts';
import { agentEvents, type AgentEvents } from '../../../../agent/events.ts';
import { RunMetrics } from '../../../../agent/metrics/run-metrics.io.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';

const REST = 'https://cp:5682';
const COMPANION = 'grpcs://companion:5690';
const WEB: DataplaneView = {
  key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
  owner: 'agent',
  settleMs: 2_250,
  endpoints: [
    { url: COMPANION, reachable: true },
    { url: REST, reachable: false },
    { url: 'http://[::1]:5681', reachable: undefined },
  ],
  companion: { attached: true, epoch: 7 },
  rotation: 'turning out',
  looks: { reached: 5, refused: 2, silent: 1, unable: 3, refusals: 4 },
};
const RUNNING: RunView = {
  phase: { name: 'running', registered: false, envoy: true, standby: 'no' },
  stopBudgetMs: 60_000,
  dataplane: WEB,
};

async function exposed(run: Partial<CountedRun>): Promise<readonly string[]> {
  const registry = agentMetrics({
    read: () => ({ ...RUNNING, counters: NO_COUNTERS, ...run }),
    startedAtMs: 1_800_000_000_500,
  });
  const text = await registry.metrics();
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

function withoutZeros(lines: readonly string[]): readonly string[] {
  return lines.filter((line) => !line.endsWith(' 0') && !line.includes('_bucket'));
}

describe('agentMetrics()', () => {
  test('show how the run stands', async () => {
    expect(withoutZeros(await exposed({}))).toEqual([
      `kuma_dp_agent_build_info{version="${VERSION}"} 1`,
      'kuma_dp_agent_phase{phase="running"} 1',
      'kuma_dp_agent_rotation{state="turning_out"} 1',
      'kuma_dp_agent_stop_budget_seconds 60',
      'kuma_dp_agent_dataplane_known 1',
      'kuma_dp_agent_dataplane_info{mesh="default",name="web-1",proxy_type="dataplane",lifecycle="agent"} 1',
      `kuma_dp_agent_endpoint_up{url="${COMPANION}",kind="companion"} 1`,
      'kuma_dp_agent_companion_attached 1',
      'kuma_dp_agent_companion_epoch 7',
      'kuma_dp_agent_settle_seconds 2.25',
      'kuma_dp_agent_looks_total{result="reached"} 5',
      'kuma_dp_agent_looks_total{result="refused"} 2',
      'kuma_dp_agent_looks_total{result="silent"} 1',
      'kuma_dp_agent_looks_total{result="unable"} 3',
      'kuma_dp_agent_looks_refused_total 4',
      'process_start_time_seconds 1800000000.5',
    ]);
  });

  test('leave out what does not exist: companion, endpoint or dataplane', async () => {
    const unknown = await exposed({ dataplane: undefined });
    expect(unknown).toContain('kuma_dp_agent_dataplane_known 0');
    const names = unknown.join('\n');
    expect(names).not.toMatch(
      /dataplane_info|endpoint_up|companion_attached|companion_epoch|settle_seconds|looks_total\{|url="h/,
    );

    const alone = await exposed({ dataplane: { ...WEB, companion: undefined } });
    expect(alone.filter((line) => line.includes('companion_'))).toEqual([]);
    expect(alone.filter((line) => line.includes('endpoint_up'))).toEqual([
      `kuma_dp_agent_endpoint_up{url="${COMPANION}",kind="companion"} 1`,
      `kuma_dp_agent_endpoint_up{url="${REST}",kind="rest"} 0`,
    ]);
  });

  test('say that it stands by, which is no state of a drain', async () => {
    const lines = await exposed({
      phase: { name: 'running', registered: false, envoy: true, standby: 'yes' },
    });
    expect(lines).toContain('kuma_dp_agent_rotation{state="standby"} 1');
    expect(lines).toContain('kuma_dp_agent_rotation{state="turning_out"} 0');
  });

  test('have exactly one phase at a time, and every one of them', async () => {
    const lines = (await exposed({})).filter((line) => line.startsWith('kuma_dp_agent_phase{'));
    expect(lines.map((line) => /"(.*)"\} (.)/.exec(line)?.slice(1).join(' '))).toEqual([
      'starting 0',
      'running 1',
      'deregistering 0',
      'settling 0',
      'draining 0',
      'exiting 0',
      'confirming 0',
      'stopped 0',
    ]);
  });

  test('show what was counted, with cumulative buckets and a zero for what has not happened yet', async () => {
    const counters = [
      { outcome: 'gone', reason: 'deleted', endpoint: REST, attempts: 1 } as const,
      { outcome: 'failed', reason: 'no answer', endpoint: undefined, attempts: 9 } as const,
    ].reduce(countDeregistration, {
      ...countStop(NO_COUNTERS, {
        schema: 1,
        stoppedAt: '',
        dataplane: '',
        incarnation: '',
        lifecycle: 'cp',
        cause: 'signal SIGTERM',
        asked: 1,
        budgetMs: 60_000,
        leftMs: 0,
        totalMs: 3_520,
        steps: [{ step: 'settle', startMs: 0, durationMs: 2_250, outcome: 'time is up' }],
        exit: { code: 0, signal: null },
      }),
      recreationsUndone: 2,
      startsPaced: 3,
      pacedSeconds: 30.5,
    });
    const lines = (await exposed({ counters, dataplane: { ...WEB, looks: undefined } })).filter((line) =>
      /_total|stop_/.test(line),
    );
    expect(withoutZeros(lines)).toEqual([
      'kuma_dp_agent_stop_budget_seconds 60',
      'kuma_dp_agent_stops_total{cause="signal",outcome="none"} 1',
      'kuma_dp_agent_stop_budgets_exceeded_total 1',
      'kuma_dp_agent_stop_duration_seconds_sum 3.52',
      'kuma_dp_agent_stop_duration_seconds_count 1',
      'kuma_dp_agent_stop_step_duration_seconds_sum{step="settle"} 2.25',
      'kuma_dp_agent_stop_step_duration_seconds_count{step="settle"} 1',
      'kuma_dp_agent_deregistrations_total{url="",kind="",result="failed"} 1',
      `kuma_dp_agent_deregistrations_total{url="${REST}",kind="rest",result="deleted"} 1`,
      'kuma_dp_agent_recreations_undone_total 2',
      'kuma_dp_agent_restarts_paced_total 3',
      'kuma_dp_agent_restart_pacing_seconds_total 30.5',
    ]);
    expect(lines).toContain('kuma_dp_agent_stops_total{cause="killed",outcome="unknown"} 0');
    const buckets = lines.filter((line) => line.startsWith('kuma_dp_agent_stop_duration_seconds_bucket'));
    expect(buckets.map((line) => /le="(.*)"\} (.)/.exec(line)?.slice(1).join(' '))).toEqual([
      '0.5 0',
      '1 0',
      '2.5 0',
      '5 1',
      '10 1',
      '20 1',
      '30 1',
      '45 1',
      '60 1',
      '90 1',
      '120 1',
      '+Inf 1',
    ]);
  });
});

describe('RunMetrics', () => {
  let dir: TemporaryDir;
  let log: FakeLog;

  beforeEach(() => {
    dir = new TemporaryDir();
    log = new FakeLog();
  });

  afterEach(() => {
    dir[Symbol.dispose]();
  });

  const stateFile = (): string => dir.join('state/dataplane~default~web-1.json');
  const file = (): string => dir.join('state/dataplane~default~web-1.tallies');
  const kept = (): Counters => Counters.parse(JSON.parse(readFileSync(file(), 'utf8')));

  function of(metrics: MetricsOptions['metrics']): RunMetrics | undefined {
    const files = {
      metricsTokenFile: undefined,
      metricsCertificateFile: undefined,
      metricsKeyFile: undefined,
    };
    return RunMetrics.of({ clock: new FakeClock(), events: agentEvents(log) }, { ...files, metrics });
  }

  function begin(): { readonly metrics: RunMetrics; readonly events: AgentEvents } {
    const metrics = of({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    if (metrics === undefined) throw new Error('There are no metrics');
    return { metrics, events: metrics.events };
  }

  test('are none where they are off', () => {
    expect(of('off')).toBeUndefined();
  });

  test('count what the events say, and say it all the same', async () => {
    const { metrics, events } = begin();
    events.startPaced(2_000);
    metrics.onDerived(stateFile(), [REST]);
    events.deregistered({ outcome: 'gone', reason: 'deleted', endpoint: REST, attempts: 1 });
    events.confirmed({ outcome: 'gone' });
    events.confirmed({ outcome: 'deleted again' });
    await metrics.onEnd();
    expect(log.events).toEqual(['start.paced', 'dataplane.deregistered', 'recreation.undone']);
    expect(kept()).toEqual({
      ...NO_COUNTERS,
      open: false,
      deregistrations: [{ url: REST, result: 'deleted', count: 1 }],
      recreationsUndone: 1,
      startsPaced: 1,
      pacedSeconds: 2,
    });
  });

  test('go on from the last run, and notice one that was killed', async () => {
    const first = begin();
    first.metrics.onDerived(stateFile(), [REST]);
    first.events.startPaced(1_000);
    await first.metrics.onEnd();
    const killed = begin();
    killed.metrics.onDerived(stateFile(), [REST]);
    await killed.metrics.onEnd();
    writeFileSync(file(), JSON.stringify({ ...kept(), open: true }));
    const { metrics, events } = begin();
    metrics.onDerived(stateFile(), [REST]);
    events.startPaced(500);
    await metrics.onEnd();
    expect(kept()).toEqual({
      ...NO_COUNTERS,
      open: false,
      stops: [{ cause: 'killed', outcome: 'unknown', count: 1 }],
      startsPaced: 2,
      pacedSeconds: 1.5,
    });
    expect(log.events).not.toContain('counters.reset');
  });

  test('begin at zero where the file is damaged, and say so', async () => {
    mkdirSync(dir.join('state'));
    writeFileSync(file(), '{"schema":1,');
    const { metrics } = begin();
    metrics.onDerived(stateFile(), [REST]);
    await metrics.onEnd();
    expect(kept()).toEqual({ ...NO_COUNTERS, open: false });
    expect(log.events).toEqual(['counters.reset']);
  });

  test('that cannot be kept are warned of once', async () => {
    // A file where the folder should be.
    writeFileSync(dir.join('state'), '');
    const { metrics, events } = begin();
    metrics.onDerived(stateFile(), [REST]);
    events.startPaced(500);
    await metrics.onEnd();
    expect(log.events).toEqual(['counters.reset', 'start.paced', 'counters.reset']);
  });
});
