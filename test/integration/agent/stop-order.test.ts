import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { freePort } from '../../support/world/free-port.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

/** Timers of two processes are compared; their clocks are the same, their schedulers are not. */
const SLACK_MS = 20;
const SETTLE_MS = 700;
const BUDGET = ['--stop-budget=10s', `--settle=${SETTLE_MS}ms`];

describe.concurrent('the order of a stop', () => {
  test('kuma-dp gets its SIGTERM only after the object is gone and the peers know', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin' },
      options: BUDGET,
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    expect(scene.isThere).toBe(true);

    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });

    expect(scene.isThere).toBe(false);
    const [deletion] = scene.deletions;
    const [drain, end] = scene.child.signals('SIGTERM');
    expect(drain?.atMs).toBeGreaterThanOrEqual((deletion?.atMs ?? Infinity) + SETTLE_MS - SLACK_MS);
    expect(end?.count).toBe(2);
    expect(agent.report.steps.map(({ step, outcome }) => [step, outcome])).toEqual([
      ['deregister', 'gone'],
      ['settle', 'time is up'],
      ['drain', 'quiet'],
      ['exit', 'exit code 0'],
      ['confirm', 'gone'],
    ]);
    expect(scene.deletions).toHaveLength(1);
  });

  test("kuma-dp drains as long as it wants within the budget without Envoy's admin", async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'hidden', drainMs: 1_200 },
      options: BUDGET,
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await agent.waitForEvent('envoy.hidden');

    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });

    expect(scene.child.signals('SIGTERM')).toHaveLength(1);
    expect(agent.report.steps.find(({ step }) => step === 'drain')?.outcome).toBe('exit code 0');
  });

  test('a kuma-dp that has had a SIGTERM from another process gets no second one', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin', busyMs: 1_000, readinessPort: await freePort() },
      options: BUDGET,
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);

    agent.signalGroup('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });

    const [own, end, ...more] = scene.child.signals('SIGTERM');
    expect((end?.atMs ?? 0) - (own?.atMs ?? Infinity)).toBeGreaterThanOrEqual(1_000);
    expect(more).toEqual([]);
    expect(scene.deletions).toHaveLength(1);
  });

  test('kuma-dp gets SIGUSR2 after the object is gone, and one SIGTERM after that', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin' },
      options: BUDGET,
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);

    agent.signal('SIGUSR2');
    const standby = await scene.child.waitForSignal('SIGUSR2');
    expect(standby.atMs).toBeGreaterThanOrEqual(scene.deletions[0]?.atMs ?? Infinity);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });

    expect(scene.child.signals('SIGTERM')).toHaveLength(1);
    expect(scene.child.signals('SIGUSR2')).toHaveLength(1);
    expect(scene.deletions).toHaveLength(1);
  });
});

describe.concurrent('a kuma-dp that never started an Envoy', () => {
  test.for<readonly [what: string, connectedAgoMs: number | undefined, stays: boolean]>([
    ['a dataplane connected long before this run', 3_600_000, true],
    ['a dataplane connected a little before this run', 8_000, true],
    ['a dataplane connected since, which may be its own Envoy', 0, false],
    ['no dataplane is connected', undefined, false],
  ])('leaves its object: %s: %s', async ([, connectedAgoMs, stays]) => {
    await using scene = new SignalScene({ controlPlane, child: { contract: 'obedient' }, options: BUDGET });
    if (connectedAgoMs !== undefined) scene.recreate('online', connectedAgoMs);
    const agent = await scene.start();
    await scene.child.waitFor('ready');
    await agent.waitForEvent('endpoint.reached');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(scene.isThere).toBe(stays);
    expect(agent.seen('dataplane.kept')).toHaveLength(stays ? 1 : 0);
  });
});

describe.concurrent('a second request to stop', () => {
  test('hastens the deregistration and does not cancel it', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin' },
      options: ['--stop-budget=20s', '--settle=8s'],
    });
    // Slow enough to be asked twice meanwhile, fast enough for the second that is left then.
    controlPlane.faults.add({ path: scene.path, times: 1, action: { kind: 'slow', delayMs: 500 } });
    const agent = await scene.start();
    await scene.untilRunning(agent);

    agent.signal('SIGTERM');
    await waitUntil(() => scene.requests('GET').length > 0, { what: 'another request' });
    agent.signal('SIGTERM');
    await agent.waitForEvent('stop.requested', { count: 2 });
    expect(scene.isThere).toBe(true);
    expect(await agent.exited).toEqual({ code: 0, signal: null });

    expect(scene.isThere).toBe(false);
    expect(scene.deletions).toHaveLength(1);
    expect(agent.report.steps[0]).toMatchObject({ step: 'deregister', outcome: 'gone' });
    // No settle: the operator is in a hurry.
    expect(agent.report.steps.map(({ step }) => step)).toEqual(['deregister', 'exit', 'confirm']);
  });
});

describe.concurrent('confirm', () => {
  test('deletes an object again that was created again in mid-drain', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin', busyMs: 700 },
      options: BUDGET,
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);

    agent.signal('SIGTERM');
    await scene.child.waitForSignal('SIGTERM');
    expect(scene.isThere).toBe(false);
    scene.recreate('ended');
    expect(await agent.exited).toEqual({ code: 0, signal: null });

    expect(scene.isThere).toBe(false);
    expect(scene.deletions).toHaveLength(2);
    expect(agent.report.steps.at(-1)).toMatchObject({ step: 'confirm', outcome: 'gone' });
    expect(agent.seen('recreation.undone')).toHaveLength(1);
  });
});

describe.concurrent('a kuma-dp that ends by itself', () => {
  test('by a signal is deregistered, and the agent ends the same way', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin', exit: { signal: 'SIGSEGV' }, exitAfterMs: 1_000 },
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    expect(scene.isThere).toBe(true);

    expect(await agent.exited).toEqual({ code: null, signal: 'SIGSEGV' });
    expect(scene.isThere).toBe(false);
    expect(agent.report).toMatchObject({ cause: 'kuma-dp exited', asked: 0 });
  });

  test('keeps its object with --on-crash keep', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin', exit: { code: 7 }, exitAfterMs: 1_000 },
      options: ['--on-crash=keep'],
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);

    expect(await agent.exited).toEqual({ code: 7, signal: null });
    expect(scene.isThere).toBe(true);
    expect(scene.requests('DELETE')).toEqual([]);
  });
});
