import { beforeEach, describe, expect, test } from 'vitest';

import { agentEvents } from '../../../agent/events.ts';
import type { HookCommands } from '../../../agent/hooks/hook-plan.pure.ts';
import { Hooks, type RunHook } from '../../../agent/hooks/hooks.ts';
import type { Phase } from '../../../agent/stop/phases.pure.ts';
import { divideBudget } from '../../../agent/stop/stop-budget.pure.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeLog } from '../../support/fake-log.ts';

const ALL: HookCommands = { ready: 'ready.sh', leave: 'leave.sh', drained: 'drained.sh' };

describe('Hooks', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let started: { command: string; environment: Readonly<Record<string, string>>; atMs: number }[];
  let answers: ((failure?: string) => void)[];

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    started = [];
    answers = [];
  });

  const run: RunHook = (command, { environment, signal }) =>
    new Promise((resolve) => {
      started.push({ command, environment, atMs: clock.monotonicMs() });
      answers.push((failure) => resolve(failure));
      signal.addEventListener('abort', () => resolve('killed by SIGKILL'));
    });

  function hooks(commands = ALL): Hooks {
    const events = agentEvents(log);
    return new Hooks({
      clock,
      events,
      commands,
      incarnation: 'run-1',
      dataplane: () => 'default/web-1',
      run,
    });
  }

  const deadlines = divideBudget(0, 60_000);
  const DEREGISTERING: Phase = {
    name: 'deregistering',
    child: 'alive',
    envoy: true,
    standby: false,
    deadlines,
    asked: 1,
  };
  const EXITING: Phase = { name: 'exiting', progress: 'answered', deadlines, asked: 1 };

  test('each runs once, in order, and knows what it is about', async () => {
    const all = hooks();
    all.onReady();
    all.onReady();
    for (const phase of [DEREGISTERING, DEREGISTERING, EXITING, EXITING]) all.onPhase(phase);
    expect(started.map(({ command }) => command)).toEqual(['ready.sh', 'leave.sh', 'drained.sh']);
    expect(started[1]?.environment).toEqual({
      KUMA_HOOK: 'leave',
      KUMA_HOOK_MESH: 'default',
      KUMA_HOOK_NAME: 'web-1',
      KUMA_HOOK_INCARNATION: 'run-1',
      KUMA_HOOK_PHASE: 'deregistering',
      KUMA_HOOK_LIMIT_MS: '15000',
    });
    for (const answer of answers) answer();
    await all.finish();
    expect(log.events.filter((event) => event === 'hook.done')).toHaveLength(3);
  });

  test('one that hangs is killed after a quarter of the budget, and the stop goes on', async () => {
    const all = hooks();
    all.onPhase(DEREGISTERING);
    let left = false;
    void all.left().then(() => (left = true));
    await clock.pass(14_900);
    expect(left).toBe(false);
    await clock.pass(200);
    expect(left).toBe(true);
    expect(log.events).toContain('hook.failed');
  });

  test('a late hook has only the rest of the budget, less than a quarter', async () => {
    const all = hooks();
    all.onPhase(DEREGISTERING);
    answers[0]?.();
    await clock.pass(55_000);
    all.onPhase(EXITING);
    const begunAtMs = clock.monotonicMs();
    await clock.passUntil(() => log.events.includes('hook.failed'));
    expect(clock.monotonicMs() - begunAtMs).toBeLessThanOrEqual(5_000);
  });

  test('a failure is logged and changes nothing', async () => {
    const all = hooks();
    all.onPhase(DEREGISTERING);
    answers[0]?.('exit code 3');
    await all.left();
    expect(log.lines.at(-1)?.message).toBe('The hook --on-leave failed: exit code 3. The agent continues');
  });

  test('a stop in a hurry waits for none of them', async () => {
    const all = hooks();
    all.onPhase(DEREGISTERING);
    all.onPhase({ ...EXITING, asked: 2 });
    await all.finish();
    expect(clock.monotonicMs()).toBe(0);
    expect(log.events.filter((event) => event === 'hook.failed')).toHaveLength(2);
  });

  test('without commands nothing runs and nothing waits', async () => {
    const none = hooks({ ready: undefined, leave: undefined, drained: undefined });
    none.onReady();
    none.onPhase(DEREGISTERING);
    none.onPhase(EXITING);
    await none.left();
    await none.finish();
    expect([started, log.events]).toEqual([[], []]);
  });
});
