import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { VERSION } from '../../../kernel/version.ts';
import { Counters } from '../../../agent/metrics/counters.pure.ts';
import { type AgentProcess } from '../../support/agent-process.ts';
import { sendSignal } from '../../support/world/processes.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { ask, scrape } from '../../support/scrape.ts';
import type { ChildPlan } from '../../support/signal-child.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start({ deregistrationDelayMs: 4_000 });
});

afterAll(() => controlPlane[Symbol.asyncDispose]());

const KUMA: ChildPlan = { contract: 'kuma', envoy: 'admin', exit: { code: 6 } };
const ANY_PORT = '127.0.0.1:0';

function open(metrics: string, options: readonly string[] = []): SignalScene {
  return new SignalScene({
    controlPlane,
    child: KUMA,
    options: [`--metrics=${metrics}`, ...options],
  });
}

/** The address at which the agent reports that it serves its metrics. */
async function addressOf(agent: AgentProcess, count = 1): Promise<string> {
  return String((await agent.waitForEvent('metrics.served', { count }))['address']);
}

async function running(
  scene: SignalScene,
): Promise<{ readonly agent: AgentProcess; readonly address: string }> {
  const agent = await scene.start();
  await scene.untilRunning(agent);
  return { agent, address: await addressOf(agent) };
}

function countersFile(scene: SignalScene): string {
  return scene.stateFile.replace(/json$/, 'tallies');
}

describe.concurrent('the metrics of the agent', () => {
  test('show the present state, answer during a stop, and continue in the next run', async () => {
    await using scene = open(ANY_PORT, ['--settle=3s', '--stop-budget=20s']);
    const { agent, address } = await running(scene);
    const before = await scrape(address);
    const url = scene.controlPlane.httpUrl;
    expect(before.nonZero(/^kuma_dp_agent_/)).toEqual({
      [`kuma_dp_agent_build_info{version="${VERSION}"}`]: 1,
      'kuma_dp_agent_phase{phase="running"}': 1,
      'kuma_dp_agent_rotation{state="in"}': 1,
      kuma_dp_agent_stop_budget_seconds: 20,
      kuma_dp_agent_settle_seconds: 3,
      kuma_dp_agent_dataplane_known: 1,
      [`kuma_dp_agent_dataplane_info{mesh="default",name="${scene.name}",proxy_type="dataplane",lifecycle="cp"}`]: 1,
      [`kuma_dp_agent_endpoint_up{url="${url}",kind="rest"}`]: 1,
    });

    agent.signal('SIGTERM');
    await agent.waitForEvent('dataplane.deregistered');
    const during = await scrape(address);
    expect(during.nonZero(/phase|deregistrations/)).toEqual({
      'kuma_dp_agent_phase{phase="settling"}': 1,
      [`kuma_dp_agent_deregistrations_total{url="${url}",kind="rest",result="deleted"}`]: 1,
    });
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    await expect(scrape(address), 'no process listens any more').rejects.toThrow('ECONNREFUSED');

    scene.put();
    const next = await scene.start();
    const after = await scrape(await addressOf(next));
    const { totalMs } = agent.report;
    expect(after.nonZero(/_total|stop_duration/)).toEqual({
      'kuma_dp_agent_stops_total{cause="signal",outcome="gone"}': 1,
      kuma_dp_agent_stop_duration_seconds_sum: totalMs / 1_000,
      kuma_dp_agent_stop_duration_seconds_count: 1,
      [`kuma_dp_agent_deregistrations_total{url="${url}",kind="rest",result="deleted"}`]: 1,
      kuma_dp_agent_restarts_paced_total: 1,
      kuma_dp_agent_restart_pacing_seconds_total: Number(next.seen('start.paced')[0]?.['waitMs']) / 1_000,
    });
    const steps = agent.report.steps.map(({ step }) => [
      `kuma_dp_agent_stop_step_duration_seconds_count{step="${step}"}`,
      1,
    ]);
    expect(steps.length).toBeGreaterThan(3);
    expect(after.nonZero(/step_duration_seconds_count/)).toEqual(Object.fromEntries(steps));
  });

  test('count an object that was created again and deleted again, and a crash', async () => {
    await using scene = open(ANY_PORT, ['--settle=100ms', '--restart-pacing=off']);
    const first = await running(scene);
    first.agent.signal('SIGTERM');
    await first.agent.waitForEvent('dataplane.deregistered');
    scene.recreate('ended');
    await first.agent.exited;
    expect(first.agent.seen('recreation.undone')).toHaveLength(1);

    scene.put();
    const second = await running(scene);
    const { pid = 0 } = await scene.child.waitFor('ready', 20_000, 2);
    await scene.child.waitFor('envoy-seen', 20_000, 2);
    sendSignal(pid, 'SIGKILL');
    await second.agent.exited;
    scene.put();
    const third = await running(scene);
    const seen = await scrape(third.address);
    expect(seen.nonZero(/stops_total|recreations/)).toEqual({
      'kuma_dp_agent_stops_total{cause="signal",outcome="gone"}': 1,
      'kuma_dp_agent_stops_total{cause="crash",outcome="gone"}': 1,
      kuma_dp_agent_recreations_undone_total: 1,
    });
  });

  test('count a killed agent in its next run, which takes its socket over', async () => {
    using folder = new SignalScene({ controlPlane, put: false }).dir;
    const path = folder.join('m.sock');
    await using scene = open(`unix:${path}`, ['--restart-pacing=off']);
    const { agent, address } = await running(scene);
    expect(address).toBe(`unix:${path}`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    agent.signal('SIGKILL');
    await agent.exited;
    const { pid = 0 } = await scene.child.waitFor('ready');
    await scene.child.waitForSignal('SIGTERM');
    sendSignal(pid, 'SIGKILL');
    await agent.waitUntilNobodyLives(10_000);
    expect(existsSync(path), 'left behind').toBe(true);

    const next = await running(scene);
    const seen = await scrape(next.address);
    expect(seen.nonZero(/stops_total/)).toEqual({
      'kuma_dp_agent_stops_total{cause="killed",outcome="unknown"}': 1,
    });
    next.agent.signal('SIGTERM');
    await next.agent.exited;
    expect(existsSync(path)).toBe(false);
    expect(Counters.parse(JSON.parse(readFileSync(countersFile(scene), 'utf8'))).open).toBe(false);
  });

  test('cost neither memory nor time of a stop when clients never read, and serve others', async () => {
    await using scene = open(ANY_PORT, ['--settle=200ms']);
    const { agent, address } = await running(scene);
    await scrape(address);
    const beforeKb = residentKb(agent.pid);
    const sockets = await Promise.all(Array.from({ length: 40 }, () => deafClient(address)));
    for (let scrapes = 0; scrapes < 3; scrapes += 1)
      expect((await scrape(address)).value('kuma_dp_agent_phase{phase="running"}')).toBe(1);
    expect(residentKb(agent.pid) - beforeKb).toBeLessThan(30_000);

    agent.signal('SIGTERM');
    await agent.waitForEvent('dataplane.deregistered');
    expect((await scrape(address)).value('kuma_dp_agent_phase{phase="running"}')).toBe(0);
    await agent.waitForEvent('stop.reported');
    const reportedAtMs = performance.now();
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    expect(performance.now() - reportedAtMs, 'not by the last resort, after a second').toBeLessThan(1_000);
    for (const socket of sockets) socket.destroy();
  });

  test('cost a warning, and nothing of a stop, when another process has the port', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    await using scene = open(`127.0.0.1:${port}`, ['--settle=100ms']);
    const agent = await scene.start();
    await scene.untilRunning(agent);
    expect(await agent.waitForEvent('metrics.unavailable')).toMatchObject({
      level: 40,
      address: `127.0.0.1:${port}`,
      err: { code: 'LISTENER_FAILED' },
    });
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    expect(scene.isThere).toBe(false);
    holder.close();
  });

  test('cost a warning too without the folder, or with a file in the way', async () => {
    await using scene = open('unix:/nowhere/m.sock');
    const agent = await scene.start();
    expect(JSON.stringify(await agent.waitForEvent('metrics.unavailable'))).toContain('/nowhere');
    using folder = new SignalScene({ controlPlane, put: false }).dir;
    writeFileSync(folder.join('file'), '');
    await using other = open(`unix:${folder.join('file')}`);
    const second = await other.start();
    expect(JSON.stringify(await second.waitForEvent('metrics.unavailable'))).toContain('is not a socket');
    expect(existsSync(folder.join('file'))).toBe(true);
  });

  test('are served although the dataplane is unknown, and show that', async () => {
    await using scene = open(ANY_PORT);
    const agent = await scene.start({
      argv: scene.runArgv.filter((each) => !each.includes('dataplane-file')),
    });
    const seen = await scrape(await addressOf(agent));
    expect(agent.seen('dataplane.unknown')).toHaveLength(1);
    expect(seen.value('kuma_dp_agent_dataplane_known')).toBe(0);
    expect(seen.body).not.toMatch(/^kuma_dp_agent_(dataplane_info|endpoint_up|settle_seconds)/m);
  });

  test.for([
    ['GET', '/', 404],
    ['GET', '/metrics/', 404],
    ['GET', '/page', 404],
    ['POST', '/metrics', 405],
    ['DELETE', '/metrics', 405],
  ] as const)('%s %s is answered with %d', async ([method, path, status]) => {
    await using scene = open(ANY_PORT);
    const { address } = await running(scene);
    expect(await ask(address, method, path)).toMatchObject({ status });
  });

  test('without --metrics no port is opened and nothing is kept', async () => {
    await using scene = new SignalScene({ controlPlane, child: KUMA, options: ['--settle=100ms'] });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await waitUntil(() => existsSync(scene.stateFile.replace(/json$/, 'sock')), { what: 'a control socket' });
    expect(listeningTcp(agent.pid)).toEqual([]);
    agent.signal('SIGTERM');
    await agent.exited;
    expect(existsSync(countersFile(scene))).toBe(false);
    expect(agent.events.filter(({ event }) => event.startsWith('metrics.'))).toEqual([]);
  });

  test.for([
    ['9100', 'expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    ['unix:', 'a path is expected after "unix:"'],
    [`unix:/${'x'.repeat(107)}`, "the path has 108 bytes, a Unix socket's at most 107"],
  ] as const)('--metrics %s is refused before kuma-dp is started', async ([metrics, problem]) => {
    await using scene = open(metrics);
    const agent = await scene.start();
    expect(await agent.exited).toEqual({ code: 78, signal: null });
    expect(agent.spoken).toEqual([
      `kuma-dp-agent: --metrics (KUMA_DP_AGENT_METRICS): ${problem}: "${metrics}"`,
    ]);
  });
});

/** Asks as often as one may, and never looks at an answer. */
async function deafClient(address: string): Promise<Socket> {
  const socket = connect(Number(new URL(`http://${address}`).port), '127.0.0.1');
  await once(socket, 'connect');
  socket.on('error', () => {}).pause();
  const requests = 'GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(8);
  // The bytes go into the kernel's buffers, even if no process reads them.
  await new Promise((sent) => socket.write(requests, sent));
  return socket;
}

function residentKb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Inodes of the TCP sockets on which a process listens. */
function listeningTcp(pid: number): readonly string[] {
  const own = readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => state === '0A')
    .map((fields) => fields[9] ?? '');
  return descriptorsOf(pid).filter((inode) => own.includes(inode));
}

function descriptorsOf(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return [];
    }
  });
}
