import { afterEach, describe, expect, test } from 'vitest';

import type { StopEvidence } from '../../../../agent/ports.ts';
import type { ProxyKind } from '../../../../agent/identity/used-proxy.pure.ts';
import { FakeRun, NO_EVIDENCE, type FakeRunOptions } from '../../../support/fake-run.ts';

let runs: FakeRun[] = [];

afterEach(() => {
  for (const run of runs) expect(run.clock.armed, 'timers left armed').toBe(0);
  runs = [];
});

const PORTS = [{ host: '127.0.0.1', port: 8_080 }];

interface Scene {
  readonly kind?: ProxyKind;
  readonly isGuess?: boolean;
  readonly host?: Partial<StopEvidence>;
  readonly supervisor?: FakeRunOptions['supervisor'];
  readonly keeper?: FakeRunOptions['keeper'];
}

function serving({
  kind = 'sidecar',
  isGuess = false,
  host = {},
  supervisor = {},
  keeper = {},
}: Scene = {}): FakeRun {
  const run = new FakeRun({
    keeper,
    dataplane: { proxy: { kind, isGuess, drainTimeMs: 30_000, applicationPorts: PORTS } },
    supervisor: { host: { ...NO_EVIDENCE, ...host }, ...supervisor },
  });
  runs.push(run);
  run.serve();
  return run;
}

interface Outbound {
  readonly active?: number;
  readonly begun?: number;
  readonly connections?: number;
}

/** Envoy's counters of its one outbound listener. */
function calls(run: FakeRun, now: (atMs: number) => Outbound): void {
  run.admin.onStats = () => {
    const { active = 0, begun = 0, connections = 0 } = now(run.clock.monotonicMs());
    return Promise.resolve(
      [
        `http.backend.downstream_rq_active: ${active}`,
        `http.backend.downstream_rq_total: ${begun}`,
        `http.backend.downstream_cx_active: ${connections}`,
        `listener.127.0.0.1_30001.downstream_cx_active: ${connections}`,
      ].join('\n'),
    );
  };
}

function held(run: FakeRun): unknown {
  return run.reports[0]?.steps.find(({ step }) => step === 'drain')?.detail;
}

describe('Supervisor: an application that goes on calling others', () => {
  test('with calls in progress: until the last is done', async () => {
    const run = serving();
    calls(run, (atMs) => ({ active: atMs < 5_000 ? 3 : 0, begun: 3 }));
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 5050']);
    expect(held(run)).toEqual({ held: ['waiting for 3 outbound requests'] });
  });

  test('with a pool of connections that closes after 10 s: until 5 s after its last call', async () => {
    const run = serving();
    calls(run, (atMs) => ({
      begun: 7 + Math.floor(Math.min(atMs, 10_000) / 100),
      connections: atMs < 10_000 ? 2 : 0,
    }));
    run.signal('SIGTERM');
    const { atMs } = await run.untilEnded();
    expect(atMs).toBeGreaterThanOrEqual(15_000);
    expect(atMs).toBeLessThan(15_300);
  });

  test('once in four seconds, each call on a connection of its own: as long as it goes on', async () => {
    const run = serving({ host: { probe: () => Promise.resolve('unknown') } });
    calls(run, (atMs) => ({ begun: Math.floor(Math.min(atMs, 20_000) / 4_000) }));
    await run.clock.pass(100_000);
    calls(run, (atMs) => ({ begun: Math.floor(Math.min(atMs, 120_000) / 4_000) }));
    run.signal('SIGTERM');
    const { atMs } = await run.untilEnded();
    expect(atMs - 100_000).toBeGreaterThanOrEqual(25_000);
    expect(atMs - 100_000).toBeLessThan(25_300);
  });

  test('whose port answers, and which called 20 s before the stop: as long as kuma-dp alone', async () => {
    const run = serving({ host: { probe: () => Promise.resolve('answer') } });
    calls(run, (atMs) => ({ begun: atMs < 80_000 ? 3 : 4 }));
    await run.clock.pass(100_000);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs - 100_000).toBeLessThanOrEqual(30_200);
    expect((run.ended?.atMs ?? 0) - 100_000).toBeGreaterThanOrEqual(30_000);
    expect(run.log.events).toContain('drain.held');
  });

  test('whose port answers, and whose last call was a minute ago: as a plain stop', async () => {
    const run = serving({ host: { probe: () => Promise.resolve('answer') } });
    calls(run, (atMs) => ({ begun: atMs < 30_000 ? 3 : 4 }));
    await run.clock.pass(100_000);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBe(102_750);
  });

  test('which was stopped before its proxy: as a plain stop', async () => {
    const run = serving({ host: { probe: () => Promise.resolve('refuse') } });
    calls(run, (atMs) => ({ begun: Math.floor(Math.min(atMs, 99_900) / 100) }));
    await run.clock.pass(100_000);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBe(102_750);
  });

  test('and only its proxy is restarted: as a plain stop', async () => {
    const run = serving({
      host: { probe: () => Promise.resolve('answer'), isRestart: () => Promise.resolve(true) },
    });
    calls(run, (atMs) => ({ begun: Math.floor(atMs / 100), connections: 500 }));
    await run.clock.pass(100_000);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBe(102_750);
  });

  test('with --outbound-hold 10s: until then', async () => {
    const run = serving({ supervisor: { outboundHold: 10_000 } });
    calls(run, () => ({ begun: 1, connections: 2 }));
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBeLessThanOrEqual(10_100);
    expect(run.ended?.atMs).toBeGreaterThanOrEqual(10_000);
  });

  test("the agent's own connections hold nothing", async () => {
    const run = serving({ host: { ownConnections: () => new Set(['a', 'b']) } });
    calls(run, (atMs) => (atMs < 20_000 ? {} : { connections: 2 }));
    await run.clock.pass(30_000);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBe(32_750);
  });

  test('the second signal waits for nothing of it', async () => {
    const run = serving();
    calls(run, () => ({ active: 1, begun: 1, connections: 1 }));
    run.signal('SIGTERM');
    await run.clock.pass(4_000);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBe(4_000);
  });

  test('what is waited for can be asked while it drains', async () => {
    const run = serving();
    calls(run, () => ({ connections: 2 }));
    expect(run.supervisor.hold).toBeUndefined();
    run.signal('SIGTERM');
    await run.clock.pass(4_000);
    expect(run.supervisor.hold).toMatch(
      /^the application still has 2 connections to Envoy \(outbound:127\.0\.0\.1:30001\): waiting until \d\d:\d\d:\d\d at the latest$/,
    );
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.supervisor.hold).toBeUndefined();
  });
});

describe('Supervisor: clients that no control plane tells', () => {
  test.for(['builtin gateway', 'zone ingress'] as const)(
    '%s: not ready at once, serves for the drain time',
    async (kind) => {
      const run = serving({ kind });
      run.signal('SIGTERM');
      await run.untilEnded();
      expect(run.sent).toEqual(['SIGTERM 0', 'SIGTERM 30050']);
      expect(run.endpoint.times('deregister')).toEqual([0]);
    },
  );

  test('a Dataplane that was applied beforehand is a gateway if its listeners say so', async () => {
    const run = serving({ isGuess: true });
    const listener = { name: 'edge:HTTP:8080', traffic_direction: 'INBOUND', stat_prefix: 'edge' };
    run.admin.onListenerConfig = () => Promise.resolve({ configs: [{ active_state: { listener } }] });
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 0', 'SIGTERM 30050']);
  });

  test('… and a sidecar if they do not', async () => {
    const run = serving({ isGuess: true });
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 2750']);
  });

  test('--external-drain below the drain time: that long, then until idle', async () => {
    const run = serving({ kind: 'builtin gateway', supervisor: { externalDrainMs: 12_000 } });
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 0', 'SIGTERM 12050']);
  });

  test('--external-drain above it: Envoy says at once that it is not ready, kuma-dp hears of it later', async () => {
    const run = serving({ kind: 'builtin gateway', supervisor: { externalDrainMs: 45_000 } });
    run.signal('SIGTERM');
    await run.clock.settle();
    expect(run.admin.healthchecks).toEqual(['fail']);
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 15000', 'SIGTERM 45050']);
  });

  test('the second signal does not wait for such clients, and kuma-dp gets both of its signals', async () => {
    const run = serving({ kind: 'builtin gateway', supervisor: { externalDrainMs: 45_000 } });
    run.signal('SIGTERM');
    await run.clock.pass(5_000);
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 5000', 'SIGTERM 5250']);
  });
});
