import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { need } from '../../support/need.ts';
import { NotifySocket } from '../../support/notify-socket.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { SignalScene } from '../../support/signal-scene.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(() => controlPlane[Symbol.asyncDispose]());

const SERVES = {
  contract: 'kuma',
  envoy: 'admin',
  busyMs: 300,
  listensOn: [20_001],
  exit: { code: 6 },
} as const;

function statusesOf(assignments: readonly string[]): readonly string[] {
  return assignments.flatMap((said) => /^STATUS=(?:default\/web-\w+: )?(.*)$/.exec(said)?.[1] ?? []);
}

function untilStatus(socket: NotifySocket, status: string): Promise<unknown> {
  return waitUntil(() => statusesOf(socket.assignments).includes(status), { what: `the status "${status}"` });
}

/** A stand-in for systemd-notify that records its arguments, and takes its time. */
function standIn(scene: SignalScene, seconds: number): { readonly PATH: string; readonly file: string } {
  const program = scene.dir.join('systemd-notify');
  const file = scene.dir.join('notified');
  writeFileSync(program, `#!/bin/sh\necho "$@" >>${file}\nexec sleep ${seconds}\n`);
  chmodSync(program, 0o755);
  return { PATH: `${scene.dir.path}:${process.env['PATH'] ?? ''}`, file };
}

describe.concurrent('systemd', () => {
  test('learns when the dataplane serves, and every step of its stop, in real bytes', async (context) => {
    need(context, 'systemd-notify');
    await using socket = await NotifySocket.start();
    await using scene = new SignalScene({
      controlPlane,
      child: { ...SERVES, listensAfterMs: 1_500 },
      options: ['--settle=500ms'],
    });
    const agent = await scene.start({ env: { NOTIFY_SOCKET: socket.path } });
    await scene.untilRunning(agent);
    await untilStatus(socket, 'kuma-dp runs, Envoy does not serve yet');
    expect(socket.assignments).not.toContain('READY=1');
    await socket.waitFor('READY=1');
    await untilStatus(socket, 'serving');

    const stopAtMs = Date.now();
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    const stopping = await socket.waitFor('STOPPING=1');
    expect(stopping.atMs - stopAtMs).toBeLessThan(1_000);
    const said = statusesOf(socket.assignments);
    expect(said).toContain('stopping: deregistered, serving until peers have dropped the endpoint');
    expect(said).toContain('stopping: waiting for the last requests');
    expect(
      socket.assignments.filter((one) => one.startsWith('MAINPID')),
      'stays the agent',
    ).toEqual([]);
    const extensions = socket.assignments.flatMap(
      (one) => /^EXTEND_TIMEOUT_USEC=(\d+)$/.exec(one)?.[1] ?? [],
    );
    expect(extensions.length).toBeGreaterThan(0);
    for (const extension of extensions) expect(Number(extension)).toBeLessThanOrEqual(15_000_000);
    expect(agent.seen('notification.lost')).toEqual([]);
  });

  test('gets signs of life as often as its watchdog requires', async (context) => {
    need(context, 'systemd-notify');
    await using socket = await NotifySocket.start();
    await using scene = new SignalScene({ controlPlane, child: SERVES });
    const agent = await scene.start({ env: { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '1000000' } });
    await socket.waitFor('READY=1');
    const signs = (): number => socket.assignments.filter((one) => one === 'WATCHDOG=1').length;
    await waitUntil(() => signs() >= 3, { what: 'three signs of life', budgetMs: 5_000 });
    agent.signal('SIGTERM', 1);
    expect(await agent.exited).toEqual({ code: 6, signal: null });
  });

  test('delays no stop, even if systemd-notify hangs: one runs, the others wait', async () => {
    await using scene = new SignalScene({ controlPlane, child: SERVES, options: ['--settle=500ms'] });
    const { file, PATH } = standIn(scene, 5);
    const agent = await scene.start({ env: { NOTIFY_SOCKET: '/nowhere', PATH } });
    await scene.untilRunning(agent);
    await waitUntil(() => existsSync(file), { what: 'a first notice' });
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    const [deregistered] = agent.report.steps;
    expect(deregistered).toMatchObject({ step: 'deregister', outcome: 'gone' });
    expect(deregistered?.durationMs).toBeLessThan(500);
    expect(agent.report.totalMs).toBeLessThan(3_000);
    expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(1);
    // No part uses it any more; the test's own end must not wait for it.
    for (const { pid } of agent.living) process.kill(pid, 'SIGKILL');
  });

  test('that cannot be notified costs one warning', async () => {
    await using scene = new SignalScene({ controlPlane, child: SERVES, options: ['--settle=100ms'] });
    const agent = await scene.start({ env: { NOTIFY_SOCKET: scene.dir.join('no-socket') } });
    await agent.waitForEvent('notification.lost');
    await scene.untilRunning(agent);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    expect(agent.seen('notification.lost')).toHaveLength(1);
    expect(scene.isThere).toBe(false);
  });

  test('that does not listen gets no message, and the agent spawns nothing', async () => {
    await using scene = new SignalScene({ controlPlane, child: SERVES, options: ['--settle=100ms'] });
    const { file, PATH } = standIn(scene, 0);
    const agent = await scene.start({ env: { NOTIFY_SOCKET: undefined, PATH } });
    await scene.untilRunning(agent);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    expect(existsSync(file)).toBe(false);
  });
});
