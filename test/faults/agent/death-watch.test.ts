import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { linuxHost } from '../../../agent/state/host.io.ts';
import { type AgentProcess } from '../../support/agent-process.ts';
import { lives, processesWith, sendSignal } from '../../support/world/processes.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start({ deregistrationDelayMs: DEREGISTRATION_DELAY_MS });
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

const DEREGISTRATION_DELAY_MS = 2_000;
const DRAIN_MS = 1_000;

async function running(scene: SignalScene): Promise<AgentProcess> {
  const agent = await scene.start();
  await scene.untilRunning(agent);
  return agent;
}

function draining(drainMs = DRAIN_MS): SignalScene {
  return new SignalScene({ controlPlane, child: { contract: 'kuma', envoy: 'admin', drainMs } });
}

function watchOf(agent: AgentProcess): number {
  const watch = agent.living.find(({ command }) => command.includes('kuma-dp-agent-watch'));
  if (watch === undefined) throw new Error('No process watches over this kuma-dp');
  return watch.pid;
}

describe.concurrent('when the agent is killed', () => {
  // The kernel's own notice of a parent's death comes once for each of its threads: four times of five, twice or more.
  test.for([1, 2, 3, 4, 5])('kuma-dp gets one SIGTERM and drains to its end, time %i', async () => {
    await using killed = draining();
    const agent = await running(killed);

    agent.signal('SIGKILL');
    await agent.exited;
    await agent.waitUntilNobodyLives(10_000);

    const told = killed.child.signals('SIGTERM');
    expect(told.map(({ count }) => count)).toEqual([1]);
    const [exiting] = killed.child.seen('exiting');
    expect((exiting?.atMs ?? 0) - (told[0]?.atMs ?? Infinity)).toBeGreaterThanOrEqual(DRAIN_MS - 20);
  });

  test('kuma-dp gets its SIGTERM although all processes of its unit had a signal before', async () => {
    await using killed = draining();
    const agent = await running(killed);
    const watch = watchOf(agent);
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const) {
      sendSignal(watch, signal);
    }

    agent.signal('SIGKILL');
    await agent.exited;
    await agent.waitUntilNobodyLives(10_000);

    expect(killed.child.signals('SIGTERM')).toHaveLength(1);
  });

  test('another process with the pid of an ended kuma-dp gets no signal', async () => {
    await using bystander = new ManagedProcess({ command: 'sleep', argv: ['60'] });
    const { pid, startTicks } = linuxHost().processRef(bystander.pid) ?? { pid: 0, startTicks: 0 };
    for (const { ticks, spared } of [
      { ticks: startTicks + 1, spared: true },
      { ticks: startTicks, spared: false },
    ]) {
      await killedWatching(pid, ticks);
      expect(lives(pid)).toBe(spared);
    }
  });
});

/** A process that watches `pid` as an agent does, and is killed; returns when the watch has finished. */
async function killedWatching(pid: number, startTicks: number): Promise<void> {
  const mark = `WATCH_TEST_MARK=${randomUUID()}`;
  const module = join(import.meta.dirname, '..', '..', '..', 'agent', 'child', 'death-watch.io.ts');
  const program = `
    const { watchOver } = await import(${JSON.stringify(module)});
    watchOver({ pid: ${pid}, startTicks: ${startTicks} }, { shell: '/bin/sh', env: process.env, gate: undefined });
    setInterval(() => {}, 60_000);`;
  const [name = '', value = ''] = mark.split('=');
  const watcher = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: 'ignore',
    env: { ...process.env, [name]: value },
  });
  const watches = (): boolean =>
    processesWith(mark).some(({ command }) => command.includes('kuma-dp-agent-watch'));
  try {
    await waitUntil(watches, { what: 'a watch' });
  } finally {
    watcher.kill('SIGKILL');
  }
  await waitUntil(() => processesWith(mark).length === 0, { what: 'the watch to have done its work' });
}

describe.concurrent('the agent after one that was killed', () => {
  test('waits until the remaining kuma-dp has drained, and then for its name', async () => {
    await using restarted = draining(60_000);
    const first = await running(restarted);
    const { kumaDp } = await restarted.untilPaced(DEREGISTRATION_DELAY_MS);
    first.signal('SIGKILL');
    await first.exited;

    const second = await restarted.start();
    await second.waitForEvent('predecessor.drains');
    // Its second one ends the drain.
    sendSignal(kumaDp.pid, 'SIGTERM');
    await second.waitForEvent('start.paced');
    expect(restarted.child.seen('exiting'), 'the first one has drained').toHaveLength(1);
    expect(restarted.child.seen('ready'), 'no process shared its ports').toHaveLength(1);
    await waitUntil(() => restarted.child.seen('ready').length === 2, { what: 'the second kuma-dp' });
    await killAll(second);
  });

  test('stops waiting in the end, for example for a kuma-dp that got no signal', async () => {
    await using restarted = new SignalScene({
      controlPlane,
      child: { contract: 'ignores' },
      kumaDpOptions: ['--drain-time=1s'],
    });
    const first = await running(restarted);
    first.signal('SIGKILL');
    await first.exited;

    const second = await restarted.start();
    await second.waitForEvent('predecessor.drains');
    await waitUntil(() => restarted.child.seen('ready').length === 2, { what: 'the second kuma-dp' });
    expect(restarted.child.seen('exiting'), 'the first one is still there').toEqual([]);
    await killAll(first);
    await killAll(second);
  });

  test('starts nothing when it is stopped meanwhile', async () => {
    await using restarted = new SignalScene({ controlPlane, child: { contract: 'ignores' } });
    const first = await running(restarted);
    first.signal('SIGKILL');
    await first.exited;

    const second = await restarted.start();
    await second.waitForEvent('predecessor.drains');
    second.signal('SIGTERM');
    expect(await second.exited).toEqual({ code: null, signal: 'SIGTERM' });
    expect(restarted.child.seen('ready')).toHaveLength(1);
    await killAll(first);
  });
});

/** Kills the agent, and the processes that ignore its end. */
async function killAll(agent: AgentProcess): Promise<void> {
  for (const { pid } of agent.living) sendSignal(pid, 'SIGKILL');
  await agent.waitUntilNobodyLives();
}

describe('a kuma-dp that has ended', () => {
  test('ends its watch, while its agent still has work to do', async () => {
    await using ended = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin', exit: { code: 7 }, exitAfterMs: 1_500 },
    });
    const agent = await running(ended);
    const watch = watchOf(agent);
    controlPlane.faults.add({ path: ended.path, action: { kind: 'hang' } });

    await agent.waitForEvent('child.exited');
    await waitUntil(() => !lives(watch), { what: 'the watch to end', budgetMs: 1_000 });
    expect(agent.running).toBe(true);
    expect(await agent.exited).toEqual({ code: 7, signal: null });
  });
});
