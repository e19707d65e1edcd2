import { chownSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { type AgentProcess } from '../../support/agent-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import type { ControlPlaneOptions } from '../../support/kuma/settings.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { FleetCompanion } from '../../support/world/fleet-companion.ts';
import { Fleet, AGENT, type Instance } from '../../support/world/fleet.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** A control plane whose intervals are a fifth of Kuma's, health feedback included. */
const QUICK: ControlPlaneOptions = {
  storeCacheMs: 200,
  refreshMs: 200,
  healthCheckIntervalMs: 200,
  healthReportIntervalMs: 1_000,
  deregistrationDelayMs: 300,
};

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function command(...argv: readonly string[]): Promise<Said> {
  await using process = new ManagedProcess({ command: AGENT, argv });
  const { code } = await process.exited;
  return { code, stdout: process.stdout, stderr: process.stderr };
}

async function fleetOf(options: ControlPlaneOptions = {}, agent: readonly string[] = []): Promise<Fleet> {
  const fleet = await Fleet.create({ names: ['web-1', 'web-2'], controlPlane: { ...QUICK, ...options } });
  await fleet.start(fleet.agent(...agent));
  await Promise.all(fleet.instances.map((instance) => untilControllable(fleet, instance)));
  return fleet;
}

function socketOf(fleet: Fleet, { name }: Instance): string {
  return `${fleet.stateDir}/dataplane~default~${name}.sock`;
}

async function untilControllable(fleet: Fleet, instance: Instance): Promise<void> {
  const path = socketOf(fleet, instance);
  await waitUntil(() => accepts(path), { what: `${path} to accept` });
  await waitUntil(() => instance.process.stderr.includes('endpoint.reached'), { what: 'a reached endpoint' });
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

function ask(fleet: Fleet, what: string, ...more: readonly string[]): Promise<Said> {
  return command(what, `--state-dir=${fleet.stateDir}`, '--name=web-1', ...more);
}

interface Networking {
  readonly inbound: readonly { readonly state?: string }[];
}

function stateOf(fleet: Fleet): string {
  const object = fleet.controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name: 'web-1' });
  const { networking } = (object?.spec ?? {}) as { readonly networking?: Networking };
  return object === undefined ? 'missing' : (networking?.inbound[0]?.state ?? 'Ready');
}

describe.concurrent('drain and resume', () => {
  test('a drained dataplane leaves its peers, serves on, stays out against health checks, and comes back', async () => {
    await using fleet = await fleetOf();
    const web1 = fleet.instance('web-1');

    const drained = await ask(fleet, 'drain', '--wait');
    expect(drained).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^default\/web-1: out of rotation; its last/),
    });
    expect(await fleet.client.endpoints()).toEqual([fleet.instance('web-2').command.endpoint]);
    expect(await web1.answers()).toBe(true);

    // Kuma's health feedback makes a NotReady inbound of a healthy Envoy ready at its next report.
    await delay(2_500);
    expect(stateOf(fleet)).toBe('NotReady');
    expect(await fleet.client.endpoints()).toHaveLength(1);
    const again = await ask(fleet, 'drain', '--wait');
    expect(again.stdout).toContain('out of rotation already: nothing was changed');

    const status = await command('status', '--json', `--state-dir=${fleet.stateDir}`);
    expect(status.code).toBe(0);
    const { dataplanes } = JSON.parse(status.stdout) as { dataplanes: readonly Record<string, unknown>[] };
    expect(dataplanes.map(({ dataplane, phase, rotation }) => [dataplane, phase, rotation])).toEqual([
      ['default/web-1', 'running', 'out'],
      ['default/web-2', 'running', 'in'],
    ]);

    const resumed = await ask(fleet, 'resume', '--wait');
    expect(resumed).toMatchObject({ code: 0, stdout: 'default/web-1: in rotation again\n' });
    expect(await fleet.client.endpoints()).toHaveLength(2);
    await delay(1_500);
    expect(await fleet.client.endpoints()).toHaveLength(2);
    expect((await ask(fleet, 'resume')).stdout).toContain('nothing was changed');
  });

  test.for([{ lifecycle: 'cp' }, { lifecycle: 'agent' }])(
    'a drained dataplane stays out over a restart of its agent, and leaves without settling: $lifecycle',
    async ({ lifecycle }) => {
      const options = [`--lifecycle=${lifecycle}`];
      await using fleet = await fleetOf({ healthFeedback: false }, options);
      const web1 = fleet.instance('web-1');
      expect((await ask(fleet, 'drain', '--wait')).code).toBe(0);

      web1.process.signal('SIGTERM');
      await web1.process.exited;
      const steps = /"step":"settle","startMs":[\d.]+,"durationMs":([\d.]+)/.exec(web1.process.stderr);
      expect(Number(steps?.[1])).toBeLessThan(400);

      web1.start(fleet.agent(...options));
      await untilControllable(fleet, web1);
      await waitUntil(() => web1.answers(), { what: 'web-1 to serve' });
      await waitUntil(() => stateOf(fleet) === 'NotReady', { what: 'web-1 to be out' });
      await delay(1_000);
      expect(await fleet.client.endpoints()).toHaveLength(1);
      expect(web1.process.stderr).not.toContain('dataplane.ready');

      expect((await ask(fleet, 'resume', '--wait')).stdout).toBe('default/web-1: in rotation again\n');
      expect(await fleet.client.endpoints()).toHaveLength(2);
      web1.process.signal('SIGTERM');
      await web1.process.exited;
      expect(stateOf(fleet)).toBe('missing');
    },
  );

  test('an agent with a companion as its only endpoint takes the dataplane out of rotation and back', async () => {
    await using fleet = await Fleet.create({ names: ['web-1', 'web-2'], controlPlane: QUICK });
    await using companion = await FleetCompanion.start(fleet);
    for (const instance of fleet.instances) instance.start(companion.agent());
    await fleet.untilListed();
    await Promise.all(fleet.instances.map((instance) => untilControllable(fleet, instance)));
    await waitUntil(() => fleet.instance('web-1').process.stderr.includes('dataplane.ready'), {
      what: 'web-1 to be registered',
    });

    expect(await ask(fleet, 'drain', '--wait')).toMatchObject({ code: 0 });
    expect(await fleet.client.endpoints()).toHaveLength(1);
    await delay(1_500);
    expect(stateOf(fleet)).toBe('NotReady');
    const status = await command('status', `--state-dir=${fleet.stateDir}`);
    expect(status.stdout).toContain('attached, epoch 1');
    expect(await ask(fleet, 'resume', '--wait')).toMatchObject({ code: 0, stderr: '' });
    expect(await fleet.client.endpoints()).toHaveLength(2);
  });

  test('a resume reports that the control plane is down, and the agent completes it when it is back', async () => {
    await using fleet = await fleetOf();
    await ask(fleet, 'drain', '--wait');
    await fleet.controlPlane.refuseConnections(['http']);

    const resumed = await ask(fleet, 'resume', '--wait', '--timeout=4s');
    expect(resumed).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not in rotation yet; the agent keeps trying: '),
    });
    await fleet.controlPlane.acceptConnections(['http']);
    await fleet.untilListed();
  });

  test('the command distinguishes several dataplanes, none, and a name that does not run here', async () => {
    await using fleet = await fleetOf();
    const folder = `--state-dir=${fleet.stateDir}`;
    expect((await command('drain', folder)).stderr).toContain('choose one by --mesh and --name');
    expect((await command('drain', folder, '--name=web-3')).stderr).toContain('no such dataplane');
    expect((await command('drain', `${folder}/none`)).stderr).toContain('Cannot read the state directory');
    expect((await command('doctor', folder)).stdout).toContain('FAIL dataplane: 2 agents run on this host\n');
  });

  test('an unreadable state file does not count as a host without dataplanes', async () => {
    using dir = new TemporaryDir();
    writeFileSync(dir.join('dataplane~default~web-1.json'), 'damaged');
    expect(await command('status', `--state-dir=${dir.path}`)).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('dataplane~default~web-1.json') as string,
    });
  });
});

async function sceneOf(
  options: Partial<ConstructorParameters<typeof SignalScene>[0]> = {},
): Promise<AsyncDisposable & { readonly scene: SignalScene }> {
  const controlPlane = await ControlPlane.start();
  const scene = new SignalScene({
    controlPlane,
    child: { contract: 'kuma', envoy: 'admin' },
    options: ['--stop-budget=10s', '--settle=100ms'],
    ...options,
  });
  return {
    scene,
    [Symbol.asyncDispose]: async () => {
      await scene[Symbol.asyncDispose]();
      await controlPlane[Symbol.asyncDispose]();
    },
  };
}

function pathOf(scene: SignalScene): string {
  return scene.stateFile.replace('.json', '.sock');
}

async function stop(agent: AgentProcess): Promise<void> {
  agent.signal('SIGTERM');
  expect(await agent.exited, agent.stderr).toEqual({ code: 0, signal: null });
  expect(agent.seen('agent.failed')).toEqual([]);
}

describe.concurrent('the control socket', () => {
  test('the agent answers a drain during a stop at once and continues the stop; the socket ends with the agent', async () => {
    await using world = await sceneOf({ child: { contract: 'kuma', envoy: 'admin', busyMs: 1_500 } });
    const { scene } = world;
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await waitUntil(() => accepts(pathOf(scene)), { what: 'the socket' });
    expect(lstatSync(pathOf(scene)).mode & 0o777).toBe(0o600);

    agent.signal('SIGTERM');
    await scene.child.waitForSignal('SIGTERM');
    const said = await command('drain', '--wait', `--state=${scene.stateFile}`);
    expect(said).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('stopping: the dataplane leaves for good'),
    });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(lstatSync(pathOf(scene), { throwIfNoEntry: false })).toBeUndefined();

    const after = await command('status', `--state-dir=${scene.stateDir}`);
    expect(after.stdout).toContain('ended, deregistered');
    expect(after.stdout).toContain('signal SIGTERM: gone');
    const without = await command('drain', `--state=${scene.stateFile}`);
    expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining('no agent runs it here') });
  });

  test('a caller that waits for a drain may be interrupted; the agent continues the drain', async () => {
    await using world = await sceneOf({ child: { contract: 'kuma', envoy: 'admin' } });
    const { scene } = world;
    scene.controlPlane.pause();
    const agent = await scene.start();
    await waitUntil(() => accepts(pathOf(scene)), { what: 'the socket' });
    const waiting = await scene.agent(['drain', '--wait', `--state=${scene.stateFile}`]);
    await agent.waitForEvent('rotation.requested');
    waiting.signal('SIGINT');
    expect(await waiting.exited).toEqual({ code: null, signal: 'SIGINT' });
    scene.controlPlane.resume();
    await agent.waitForEvent('rotation.changed');
  });

  test('a killed agent leaves a socket, and the next agent replaces it', async () => {
    // The drain of a kuma-dp whose agent was killed is never shortened.
    await using world = await sceneOf({ child: { contract: 'kuma', envoy: 'admin', drainMs: 200 } });
    const { scene } = world;
    const first = await scene.start();
    await scene.untilRunning(first);
    await waitUntil(() => accepts(pathOf(scene)), { what: 'the first socket' });
    first.signal('SIGKILL');
    await first.exited;
    expect(lstatSync(pathOf(scene)).isSocket()).toBe(true);
    const lost = await command('status', `--state-dir=${scene.stateDir}`);
    expect(lost).toMatchObject({ code: 1, stdout: expect.stringContaining('its object may exist') });

    const second = await scene.start();
    await waitUntil(() => accepts(pathOf(scene)), { what: 'the second socket' });
    expect(second.seen('control.unavailable')).toEqual([]);
    // Its kuma-dp may not have come so far as to catch a signal.
    second.signal('SIGTERM');
    await second.exited;
  });

  test('a socket of a living process, of another user, or a path that is no socket stays as it is', async () => {
    for (const kind of ['held', 'foreign', 'file'] as const) {
      if (kind === 'foreign' && process.geteuid?.() !== 0) continue;
      await using world = await sceneOf();
      const { scene } = world;
      const path = pathOf(scene);
      mkdirSync(scene.stateDir, { recursive: true });
      const holder = createServer();
      if (kind === 'file') writeFileSync(path, 'mine');
      else await new Promise<void>((resolve) => holder.listen(path, resolve));
      if (kind === 'foreign') chownSync(path, 65_534, 65_534);
      const agent = await scene.start();
      const { err } = await agent.waitForEvent('control.unavailable');
      const expected = { held: 'another process listens', foreign: 'another user', file: 'is not a socket' }[
        kind
      ];
      expect(JSON.stringify(err)).toContain(expected);
      await scene.untilRunning(agent);
      await stop(agent);
      expect(lstatSync(path).isFile()).toBe(kind === 'file');
      holder.close();
    }
  });

  test('a path that is too long costs the socket and nothing else', async () => {
    await using world = await sceneOf();
    const { scene } = world;
    const folder = scene.dir.join('x'.repeat(100));
    const agent = await scene.start({
      argv: scene.runArgv.map((argument) => argument.replace(scene.stateDir, folder)),
    });
    const { err } = await agent.waitForEvent('control.unavailable');
    expect(JSON.stringify(err)).toContain('longer than 107 bytes');
    await scene.untilRunning(agent);
    await stop(agent);
  });

  test('a caller that sends nothing, nonsense or too much disturbs no other caller', async () => {
    await using world = await sceneOf();
    const { scene } = world;
    const agent = await scene.start();
    await scene.untilRunning(agent);
    const path = pathOf(scene);
    await waitUntil(() => accepts(path), { what: 'the socket' });
    const silent = connect(path);
    const flood = connect(path);
    for (const socket of [silent, flood]) socket.on('error', () => {});
    flood.write('x'.repeat(1_000_000));
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(path, () => socket.write('{"ask":"explode"}\n'));
      socket.once('data', (data) => {
        resolve(data.toString());
      });
    });
    expect(JSON.parse(answer)).toMatchObject({ answer: 'invalid' });
    await stop(agent);
    silent.destroy();
    flood.destroy();
  });

  test('the agent does not drain an object of another run', async () => {
    await using world = await sceneOf();
    const { scene } = world;
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await waitUntil(() => accepts(pathOf(scene)), { what: 'the socket' });
    const object = scene.controlPlane.store.find(scene.key);
    if (object === undefined) throw new Error('There is no object');
    scene.controlPlane.store.save({ ...object, labels: { 'kuma-dp-agent/incarnation': 'another-run' } });
    const said = await command('drain', `--state=${scene.stateFile}`, '--timeout=1500ms');
    expect(said).toMatchObject({ code: 1, stderr: expect.stringContaining('another incarnation') });
    expect(JSON.parse(readFileSync(scene.stateFile, 'utf8'))).toMatchObject({ rotation: { wanted: 'out' } });
    scene.put();
    await stop(agent);
  });
});
