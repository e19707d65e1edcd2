import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type HostState } from '../../../agent/state/host-state.pure.ts';
import { type AgentExit, type AgentProcess } from '../../support/agent-process.ts';
import { sendSignal } from '../../support/world/processes.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { type ChildPlan } from '../../support/signal-child.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** Short enough to wait for, long enough not to be over before the next start. */
const DEREGISTRATION_DELAY_MS = 5_000;

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start({ deregistrationDelayMs: DEREGISTRATION_DELAY_MS });
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

const KUMA: ChildPlan = { contract: 'kuma', envoy: 'admin', drainMs: 30_000 };
const QUICK = ['--stop-budget=8s', '--settle=100ms'];

function open(child: ChildPlan = KUMA, options: readonly string[] = []): SignalScene {
  return new SignalScene({ controlPlane, child, options: [...QUICK, ...options] });
}

/** @returns the state that a killed agent left; kuma-dp has ended too, unless it ignores its signal */
async function killed(scene: SignalScene): Promise<HostState> {
  const agent = await scene.start();
  await scene.untilRunning(agent);
  await scene.untilPaced(DEREGISTRATION_DELAY_MS);
  agent.signal('SIGKILL');
  await agent.exited;
  // Its parent is dead, which it takes for a first SIGTERM; a second ends it.
  const { pid } = await scene.child.waitFor('ready');
  await scene.child.waitForSignal('SIGTERM');
  sendSignal(pid ?? 0, 'SIGTERM');
  await agent.waitUntilNobodyLives(10_000);
  // The control plane's record of the closed stream: the only proof that the run is over.
  scene.recreate('ended');
  return scene.readState();
}

async function deregister(
  scene: SignalScene,
  argv: readonly string[] = ['--state', scene.stateFile],
): Promise<{ readonly exit: AgentExit; readonly agent: AgentProcess }> {
  const agent = await scene.agent(['deregister', '--timeout=3s', ...argv]);
  return { exit: await agent.exited, agent };
}

const OK = { code: 0, signal: null };
const REFUSED = { code: 1, signal: null };
const INVALID = { code: 78, signal: null };

describe.concurrent('deregister --state, after the agent was killed', () => {
  test('finishes its work, and once is enough', async () => {
    await using scene = open();
    await killed(scene);
    expect(scene.isThere).toBe(true);

    const first = await deregister(scene);
    expect(first.exit, first.agent.stderr).toEqual(OK);
    expect(scene.isThere).toBe(false);
    // When it ended: the next start may have to wait for its name.
    expect(scene.readState()).toMatchObject({
      phase: 'ended',
      deregistered: true,
      endedAtUptimeMs: expect.any(Number) as number,
    });

    scene.put();
    const second = await deregister(scene);
    expect(second.exit).toEqual(OK);
    expect(second.agent.spoken).toEqual([expect.stringContaining('deregistered already')]);
    expect(scene.isThere).toBe(true);
  });

  test('refuses while kuma-dp lives', async () => {
    await using scene = open({ contract: 'ignores', envoy: 'admin' });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await waitUntil(() => scene.readState().kumaDp !== undefined, {
      what: 'a state file that names kuma-dp',
    });
    agent.signal('SIGKILL');
    await agent.exited;

    const { exit, agent: asked } = await deregister(scene);
    expect(exit).toEqual(REFUSED);
    expect(asked.spoken).toEqual([expect.stringContaining('kuma-dp still runs')]);
    expect(scene.isThere).toBe(true);

    const { pid } = await scene.child.waitFor('ready');
    sendSignal(pid ?? 0, 'SIGKILL');
    await agent.waitUntilNobodyLives();
    scene.recreate('ended');
    expect((await deregister(scene)).exit).toEqual(OK);
    expect(scene.isThere).toBe(false);
  });

  test('keeps an object whose stream is open: another run has it by now', async () => {
    await using scene = open();
    await killed(scene);
    scene.recreate('online');
    const { exit, agent } = await deregister(scene);
    expect(exit).toEqual(REFUSED);
    expect(agent.spoken.join()).toContain('online');
    expect(scene.isThere).toBe(true);
    expect(scene.requests('DELETE')).toEqual([]);
  });

  test('refuses while the agent lives', async () => {
    await using scene = open();
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await waitUntil(() => scene.readState().phase === 'running', { what: 'a state file' });
    const { exit, agent: asked } = await deregister(scene);
    expect(exit).toEqual(REFUSED);
    expect(asked.spoken).toEqual([expect.stringContaining(`pid ${agent.pid}`)]);
    expect(scene.isThere).toBe(true);
    agent.signal('SIGTERM');
    await agent.exited;
  });

  test('refuses a state file of another boot', async () => {
    await using scene = open();
    const state = await killed(scene);
    writeFileSync(scene.stateFile, JSON.stringify({ ...state, bootId: 'another-boot' }));
    const { exit, agent } = await deregister(scene);
    expect(exit).toEqual(REFUSED);
    expect(agent.spoken).toEqual([expect.stringContaining('booted')]);
    expect(scene.isThere).toBe(true);
  });

  test('keeps the object of a newer incarnation', async () => {
    await using scene = open();
    await killed(scene);
    const stored = controlPlane.store.find(scene.key);
    if (stored === undefined) throw new Error('It was there');
    controlPlane.store.save({ ...stored, labels: { 'kuma-dp-agent/incarnation': 'a-newer-one' } });
    const { exit, agent } = await deregister(scene);
    expect(exit).toEqual(REFUSED);
    expect(agent.spoken.join()).toContain('a-newer-one');
    expect(scene.isThere).toBe(true);
    expect(scene.requests('DELETE')).toEqual([]);
  });

  test('keeps an object at another address', async () => {
    await using scene = open();
    await killed(scene);
    const stored = controlPlane.store.find(scene.key);
    if (stored === undefined) throw new Error('It was there');
    controlPlane.store.save({ ...stored, spec: { networking: { address: '192.0.2.7', inbound: [] } } });
    expect((await deregister(scene)).exit).toEqual(REFUSED);
    expect(scene.isThere).toBe(true);
  });

  test.for([
    { what: 'empty', content: '' },
    { what: 'cut short', content: '{"schema":1,"incarnation":"x","dataplane":{"mes' },
    { what: 'of another schema', content: '{"schema":2}' },
    { what: 'binary', content: '\0\u0001\u0002' },
  ])('names the problem if the file is $what', async ({ content }) => {
    await using scene = open();
    mkdirSync(scene.stateDir);
    writeFileSync(scene.stateFile, content);
    const { exit, agent } = await deregister(scene);
    expect(exit).toEqual(INVALID);
    expect(agent.spoken).toEqual([expect.stringContaining(scene.stateFile)]);
    expect(scene.isThere).toBe(true);
  });

  test('has nothing to do if there is no file', async () => {
    await using scene = open();
    const { exit, agent } = await deregister(scene);
    expect(exit).toEqual(OK);
    expect(agent.spoken).toEqual([expect.stringContaining('nothing to finish')]);
    expect(scene.isThere).toBe(true);
  });

  test('has nothing to do after a stop in order', async () => {
    await using scene = open();
    const agent = await scene.start();
    await scene.untilRunning(agent);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
    expect(scene.readState()).toMatchObject({ phase: 'ended', deregistered: true });
    scene.put();
    expect((await deregister(scene)).exit).toEqual(OK);
    expect(scene.isThere).toBe(true);
  });

  test('fails with 1 if no endpoint answers, and can be tried again', async () => {
    await using scene = open();
    await killed(scene);
    controlPlane.faults.add({ path: scene.path, times: 100, action: { kind: 'answer', status: 403 } });
    expect((await deregister(scene)).exit).toEqual(REFUSED);
    expect(scene.isThere).toBe(true);
    expect(scene.readState()).not.toMatchObject({ deregistered: true });
  });
});

describe.concurrent('deregister --mesh --name', () => {
  test('deletes the object, and succeeds without one', async () => {
    await using scene = open();
    const argv = ['--endpoint', controlPlane.httpUrl, '--mesh=default', '--name', scene.name];
    expect(scene.isThere).toBe(true);
    expect((await deregister(scene, argv)).exit).toEqual(OK);
    expect(scene.isThere).toBe(false);
    expect((await deregister(scene, argv)).exit).toEqual(OK);
    expect(scene.deletions).toHaveLength(1);
  });

  test('fails with 1 where no process listens', async () => {
    await using scene = open();
    const argv = ['--endpoint=http://127.0.0.1:1', '--mesh=default', '--name', scene.name, '--timeout=500ms'];
    const { exit, agent } = await deregister(scene, argv.slice(0, -1));
    expect(exit).toEqual(REFUSED);
    expect(agent.events).toMatchObject([
      { event: 'deregistration.failed', dataplane: `default/${scene.name}` },
    ]);
  });
});

describe.concurrent('the state directory', () => {
  test('holds one file of one owner', async () => {
    await using scene = open();
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await waitUntil(() => scene.readState().phase === 'running', { what: 'a state file' });
    // oxlint-disable-next-line no-bitwise -- permission bits
    expect(statSync(scene.stateFile).mode & 0o777).toBe(0o600);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
  });

  test.for(['a file', 'missing below a file'])(
    '%s costs a warning, and everything else works',
    async (what) => {
      await using scene = open();
      // As root nothing is read-only; a file in the way stops everybody.
      writeFileSync(scene.dir.join('in-the-way'), '');
      const stateDir = scene.dir.join(what === 'a file' ? 'in-the-way' : 'in-the-way/state');
      const agent = await scene.start({ argv: replaced(scene.runArgv, `--state-dir=${stateDir}`) });
      await scene.untilRunning(agent);
      await agent.waitForEvent('state.unwritable');
      agent.signal('SIGTERM');
      expect(await agent.exited).toEqual(OK);
      expect(scene.isThere).toBe(false);
      expect(agent.seen('state.unwritable')).toHaveLength(1);
    },
  );

  test('a read-only one costs a warning, and everything else works', async ({ skip }) => {
    await using scene = open();
    mkdirSync(scene.stateDir);
    chmodSync(scene.stateDir, 0o500);
    skip(process.getuid?.() === 0, 'nothing is read-only to root');
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await agent.waitForEvent('state.unwritable');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
    chmodSync(scene.stateDir, 0o700);
  });

  test('a damaged file of the last run does not delay the next', async () => {
    await using scene = open();
    mkdirSync(scene.stateDir);
    writeFileSync(scene.stateFile, '{"schema":1');
    const agent = await scene.start();
    await scene.untilRunning(agent);
    expect(agent.seen('state.unreadable')).toHaveLength(1);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
    expect(scene.readState().deregistered).toBe(true);
  });

  test('a report that cannot be written costs a warning', async () => {
    await using scene = open(KUMA, ['--report-file=/proc/no/such/file']);
    const agent = await scene.start();
    await scene.untilRunning(agent);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
    expect(agent.seen('report.unwritable')).toHaveLength(1);
  });
});

describe.concurrent('two agents for one dataplane on one host', () => {
  test('the second does not deregister the first’s object', async () => {
    await using scene = open();
    const first = await scene.start();
    await scene.untilRunning(first);
    await waitUntil(() => scene.readState().phase === 'running', { what: 'a state file' });
    const before = scene.readState();

    await using other = new SignalScene({
      controlPlane,
      name: scene.name,
      child: { contract: 'obedient' },
      put: false,
    });
    const second = await other.start({ argv: replaced(other.runArgv, `--state-dir=${scene.stateDir}`) });
    await other.child.waitFor('ready');
    await second.waitForEvent('dataplane.unknown');
    second.signal('SIGTERM');
    expect(await second.exited).toEqual(OK);
    expect(scene.isThere).toBe(true);
    expect(scene.readState()).toMatchObject({ incarnation: before.incarnation, phase: 'running' });

    first.signal('SIGTERM');
    expect(await first.exited).toEqual(OK);
    expect(scene.isThere).toBe(false);
  });
});

async function stopOnce(scene: SignalScene): Promise<void> {
  const agent = await scene.start();
  await scene.untilRunning(agent);
  agent.signal('SIGTERM');
  expect(await agent.exited).toEqual(OK);
  expect(scene.readState().deregistrationDelayMs).toBe(DEREGISTRATION_DELAY_MS);
}

describe.concurrent('restart pacing', () => {
  test('waits for the rest of the control plane’s delay, and logs it', async () => {
    await using scene = open();
    await stopOnce(scene);
    const endedAtMs = Date.now();
    const agent = await scene.start();
    const paced = await agent.waitForEvent('start.paced');
    expect(paced['waitMs']).toBeGreaterThan(0);
    expect(paced['waitMs']).toBeLessThanOrEqual(DEREGISTRATION_DELAY_MS + 300);
    await waitUntil(() => scene.child.seen('ready').length === 2, { what: 'the second kuma-dp' });
    // The agent's own end came a little before it was noticed here.
    expect((scene.child.seen('ready')[1]?.atMs ?? 0) - endedAtMs).toBeGreaterThanOrEqual(
      DEREGISTRATION_DELAY_MS - 300,
    );
    agent.signal('SIGKILL');
  });

  test('follows a killed run too, since the process that finished its departure has recorded the time', async () => {
    await using scene = open();
    await killed(scene);
    expect((await deregister(scene)).exit).toEqual(OK);
    const agent = await scene.start();
    const paced = await agent.waitForEvent('start.paced');
    expect(paced['waitMs']).toBeGreaterThan(0);
    expect(paced['waitMs']).toBeLessThanOrEqual(DEREGISTRATION_DELAY_MS + 300);
    agent.signal('SIGKILL');
  });

  test('ends at once when the agent is stopped meanwhile, and starts nothing', async () => {
    await using scene = open();
    await stopOnce(scene);
    const agent = await scene.start();
    await agent.waitForEvent('start.paced');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: null, signal: 'SIGTERM' });
    expect(agent.seen('child.spawned')).toEqual([]);
    expect(scene.child.seen('ready')).toHaveLength(1);
    expect(agent.report.totalMs).toBeLessThan(DEREGISTRATION_DELAY_MS / 2);
  });

  test('does not follow a run whose Envoy got no configuration: the control plane does not know it', async () => {
    await using scene = open({ ...KUMA, refused: true });
    await stopOnce(scene);
    expect(scene.readState().connected).toBe(false);
    const agent = await scene.start();
    await waitUntil(() => scene.child.seen('ready').length === 2, { what: 'the second kuma-dp' });
    expect(agent.seen('start.paced')).toEqual([]);
    agent.signal('SIGKILL');
  });

  test('waits for nothing when it is off', async () => {
    await using scene = open(KUMA, ['--restart-pacing=off']);
    await stopOnce(scene);
    const agent = await scene.start();
    await waitUntil(() => scene.child.seen('ready').length === 2, { what: 'the second kuma-dp' });
    expect(agent.seen('start.paced')).toEqual([]);
    agent.signal('SIGKILL');
  });

  test('does not follow a run of another name on the same host', async () => {
    await using scene = open();
    await stopOnce(scene);
    await using other = new SignalScene({ controlPlane, child: { contract: 'obedient' } });
    const agent = await other.start({ argv: replaced(other.runArgv, `--state-dir=${scene.stateDir}`) });
    await other.child.waitFor('ready');
    expect(agent.seen('start.paced')).toEqual([]);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
  });

  test('is not needed after the delay', async () => {
    await using scene = open();
    await stopOnce(scene);
    await delay(DEREGISTRATION_DELAY_MS + 400);
    const agent = await scene.start();
    await waitUntil(() => scene.child.seen('ready').length === 2, { what: 'the second kuma-dp' });
    expect(agent.seen('start.paced')).toEqual([]);
    agent.signal('SIGKILL');
  });
});

/** The same command line with another state directory. */
function replaced(argv: readonly string[], option: string): readonly string[] {
  return argv.map((argument) => (argument.startsWith('--state-dir=') ? option : argument));
}
