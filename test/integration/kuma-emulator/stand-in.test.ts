import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { type KumaVersion } from '../../support/kuma/version-traits.ts';
import { KUMA_DP } from '../../support/world/dataplane-command.ts';
import { freePort } from '../../support/world/free-port.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import {
  answersHttp,
  type RunningDataplane,
  waitUntilServing,
} from '../../support/world/running-dataplane.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { QuickWorld } from './quick-world.ts';

interface Answer {
  readonly status: number;
  readonly body: string;
}

function get(
  place: { readonly socketPath: string } | { readonly port: number },
  path: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', ...place, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, body });
      });
    });
    call.on('error', reject);
    call.end();
  });
}

/** Pids of processes whose parent is `pid`. */
function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function envoyOf(dataplane: RunningDataplane): number {
  const [pid] = childrenOf(dataplane.process.pid);
  if (pid === undefined) throw new Error('kuma-dp has no child');
  return pid;
}

describe('kuma-dp run', () => {
  let world: QuickWorld;

  beforeEach(async () => {
    world = await QuickWorld.start({ healthFeedback: false });
  });

  afterEach(async () => {
    await world[Symbol.asyncDispose]();
  });

  test('the first SIGTERM fails the health check and goes on serving for the drain time, then it exits 0', async () => {
    const dataplane = await world.servingDataplane('b1', { drainTime: '1s' });
    expect(await get({ port: dataplane.readinessPort }, '/ready')).toEqual({ status: 200, body: 'LIVE\n' });
    const startedAt = performance.now();
    dataplane.process.signal('SIGTERM');
    await dataplane.process.waitForOutput('waiting for connections to be drained');
    expect(await get({ port: dataplane.readinessPort }, '/ready')).toEqual({
      status: 503,
      body: 'TERMINATING',
    });
    expect(await get({ socketPath: dataplane.adminSocket }, '/ready')).toEqual({
      status: 503,
      body: 'DRAINING\n',
    });
    expect(await answersHttp(dataplane.inboundPort)).toBe(true);
    expect(await dataplane.process.exited).toMatchObject({ code: 0, signal: null });
    expect(performance.now() - startedAt).toBeGreaterThan(1_000);
  });

  test('the second signal ends the drain', async () => {
    const dataplane = await world.servingDataplane('b1');
    dataplane.process.signal('SIGTERM');
    await dataplane.process.waitForOutput('waiting for connections to be drained');
    dataplane.process.signal('SIGINT');
    expect(await dataplane.process.exited).toMatchObject({ code: 0, signal: null });
  });

  test('the third signal ends kuma-dp with 1 and Envoy with it', async () => {
    const dataplane = await world.servingDataplane('b1');
    const envoy = envoyOf(dataplane);
    expect(isAlive(envoy)).toBe(true);
    process.kill(envoy, 'SIGSTOP');
    dataplane.process.signal('SIGTERM');
    await dataplane.process.waitForOutput('received signal');
    dataplane.process.signal('SIGTERM');
    await dataplane.process.waitForOutput('received second signal');
    dataplane.process.signal('SIGTERM');
    expect(await dataplane.process.exited).toMatchObject({ code: 1, signal: null });
    await waitUntil(() => !isAlive(envoy), { what: 'Envoy to be gone' });
  });

  test('SIGUSR2 drains the listeners and stays; a SIGTERM later ends it at once', async () => {
    const dataplane = await world.servingDataplane('b1', { drainTime: '60s' });
    dataplane.process.signal('SIGUSR2');
    await dataplane.process.waitForOutput('draining Envoy connections');
    expect((await get({ port: dataplane.readinessPort }, '/ready')).status).toBe(200);
    dataplane.process.signal('SIGTERM');
    await dataplane.process.waitForOutput('already drained, exit immediately');
    expect(await dataplane.process.exited).toMatchObject({ code: 0, signal: null });
  });

  test.for([
    ['SIGHUP', { code: null, signal: 'SIGHUP' }],
    ['SIGQUIT', { code: 2, signal: null }],
    ['SIGKILL', { code: null, signal: 'SIGKILL' }],
  ] as const)('%s ends it without a drain, and Envoy with it', async ([signal, exit]) => {
    const dataplane = await world.servingDataplane('b1');
    const envoy = envoyOf(dataplane);
    expect(isAlive(envoy)).toBe(true);
    dataplane.process.signal(signal);
    expect(await dataplane.process.exited).toMatchObject(exit);
    await waitUntil(() => !isAlive(envoy), { what: 'Envoy to be gone' });
  });

  test('it exits 1 when Envoy crashes', async () => {
    const dataplane = await world.servingDataplane('b1');
    process.kill(envoyOf(dataplane), 'SIGSEGV');
    expect(await dataplane.process.exited).toMatchObject({ code: 1, signal: null });
  });

  test('Envoy runs in a process group of its own, with the arguments that kuma-dp gives it', async () => {
    const dataplane = await world.servingDataplane('b1', { drainTime: '7s' });
    const envoy = envoyOf(dataplane);
    const processGroup = Number(readFileSync(`/proc/${envoy}/stat`, 'utf8').split(' ')[4]);
    expect(processGroup).toBe(envoy);
    const [, ...argv] = readFileSync(`/proc/${envoy}/cmdline`, 'utf8').split('\0');
    const bootstrap = world.dir.join('b1', 'bootstrap.yaml');
    expect(argv.join(' ').trim()).toBe(
      `--config-path ${bootstrap} --drain-time-s 7 --drain-strategy immediate --disable-hot-restart --log-level info --cpuset-threads`,
    );
  });

  test('a signal while it waits for the control plane ends it with 1', async () => {
    const dataplane = await world.dataplane('b1', { lifecycle: 'pre-applied' });
    await dataplane.process.waitForOutput('Dataplane entity is not yet found');
    dataplane.process.signal('SIGTERM');
    expect(await dataplane.process.exited).toMatchObject({ code: 1, signal: null });
    expect(dataplane.process.stderr).toContain('Failed to fetch Envoy bootstrap config');
  });

  test.for([
    ['2.10.1', 'legacy'],
    ['2.14.3', 'legacy'],
    ['3.0.0-preview', 'unified'],
  ] as const)('%s: listeners and statistics have the names of a recorded Envoy', async ([version]) => {
    await world[Symbol.asyncDispose]();
    world = await QuickWorld.start({ version });
    const dataplane = await world.servingDataplane('b1');
    const admin =
      version === '2.10.1' ? { port: dataplane.adminPort } : { socketPath: dataplane.adminSocket };
    const recordedPorts = { inbound: '10001', service: '20001' };
    const ours = (text: string): string =>
      text
        .replaceAll(String(dataplane.inboundPort), recordedPorts.inbound)
        .replaceAll(String(world.application.port), recordedPorts.service);
    const stats = ours((await get(admin, '/stats')).body);
    const names = new Set(stats.split('\n').map((line) => line.split(':')[0]));
    expect(recordedStatNames(version).filter((name) => !names.has(name))).toEqual([]);
    const discovery = version === '3.0.0-preview' ? 'system_ads' : 'ads_cluster';
    expect(stats).toContain(`cluster.${discovery}.upstream_rq_active: 2`);
    const listeners = JSON.parse(ours((await get(admin, '/listeners?format=json')).body)) as unknown;
    expect(listeners).toEqual(recordedListeners(version));
  });
});

function recordedFile(version: KumaVersion, file: string): string {
  return readFileSync(new URL(`../../support/kuma/recorded/${version}/${file}`, import.meta.url), 'utf8');
}

/** All but the workers', of which there are as many as the host has processors. */
function recordedStatNames(version: KumaVersion): readonly string[] {
  return recordedFile(version, 'envoy-stats-idle.txt')
    .split('\n')
    .map((line) => line.split(':')[0] ?? '')
    .filter((name) => name !== '' && !name.includes('worker_'));
}

function recordedListeners(version: KumaVersion): unknown {
  return JSON.parse(recordedFile(version, 'envoy-listeners.json'));
}

async function ending(
  argv: readonly string[],
  options: { stdin?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<{ code: number | null; stderr: string; stdout: string }> {
  await using child = new ManagedProcess({ command: KUMA_DP, argv, cwd: tmpdir(), ...options });
  const { code } = await child.exited;
  return { code, stderr: child.stderr, stdout: child.stdout };
}

describe('the command line', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await ControlPlane.start({ storeCacheMs: 50 });
  });

  afterAll(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  const template = `
type: Dataplane
mesh: default
name: {{ name }}
networking:
  address: {{ net.address }}
  inbound:
    - port: {{ port }}
      tags: { kuma.io/service: backend }
`;

  test.for([
    [['run', '--nope'], {}, 'Error: unknown flag: --nope'],
    [['run', '-x'], {}, "Error: unknown shorthand flag: 'x' in -x"],
    [['run', '--name'], {}, 'Error: flag needs an argument: --name'],
    [['run', '--drain-time', 'soon'], {}, 'invalid argument "soon" for "--drain-time" flag'],
    [['fly'], {}, 'Error: unknown command "fly" for "kuma-dp"'],
    [['run'], {}, '.Mesh must be non-empty; .Name must be non-empty'],
    [['run', '--mesh=m', '--name=n', '--drain-time=0s'], {}, '.DrainTime must be positive'],
    [['run', '--mesh=m', '--name=n'], { KUMA_DATAPLANE_NAME: '' }, '.Name must be non-empty'],
    [['run', '-d', '/nowhere.yaml'], {}, 'open /nowhere.yaml: no such file or directory'],
    [
      ['run', '--dataplane={"type":"Dataplane","mesh":"m","name":"n"}', '--name=n'],
      {},
      '--name and --mesh cannot',
    ],
    [['run', '--dataplane={"type":"ZoneEgress","name":"n"}'], {}, 'invalid proxy resource type "ZoneEgress"'],
    [['run', '--mesh=m', '--name=n', '--binary-path=/nowhere'], {}, 'could not find binary'],
  ] as const)('kuma-dp %j with %j ends with 1 and says so', async ([argv, env, words]) => {
    const { code, stderr } = await ending(argv, { env });
    expect(stderr).toContain(words);
    expect(code).toBe(1);
  });

  test('a template from standard input is rendered, and the environment wins over flags', async () => {
    const readinessPort = await freePort();
    const inboundPort = await freePort();
    await using child = new ManagedProcess({
      command: KUMA_DP,
      argv: [
        'run',
        '-d',
        '-',
        '--dataplane-var',
        `name=from-template,port=${inboundPort}`,
        '-v',
        'net.address=127.0.0.1',
        '--cp-address=https://127.0.0.1:1',
        '--skip-verify',
      ],
      env: { KUMA_CONTROL_PLANE_URL: controlPlane.dataplaneUrl, KUMA_READINESS_PORT: String(readinessPort) },
      stdin: template,
    });
    await waitUntilServing(inboundPort, 'tcp');
    const object = controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name: 'from-template' });
    expect(object?.spec).toMatchObject({
      networking: { address: '127.0.0.1', inbound: [{ port: inboundPort }] },
    });
    child.signal('SIGTERM');
    await child.waitForOutput('waiting for connections to be drained');
    child.signal('SIGTERM');
    expect(await child.exited).toMatchObject({ code: 0 });
  });

  test('a resource that the control plane finds invalid ends it with 1 at once', async () => {
    const resource = JSON.stringify({ type: 'Dataplane', mesh: 'default', name: 'n', networking: {} });
    const { code, stderr } = await ending([
      'run',
      '--dataplane',
      resource,
      '--cp-address',
      controlPlane.dataplaneUrl,
      '--skip-verify',
    ]);
    expect(stderr).toContain("networking.address: address can't be empty");
    expect(code).toBe(1);
  });

  test('without the right CA it does not get past the control plane', async () => {
    await using child = new ManagedProcess({
      command: KUMA_DP,
      argv: ['run', '--name=n', '--mesh=default', '--cp-address', controlPlane.dataplaneUrl],
    });
    await child.waitForOutput('request to bootstrap server failed');
    child.signal('SIGTERM');
    expect(await child.exited).toMatchObject({ code: 1 });
  });

  test('version prints the version', async () => {
    expect(await ending(['version'])).toEqual({ code: 0, stdout: 'Kuma: 2.14.3\n', stderr: '' });
  });
});
