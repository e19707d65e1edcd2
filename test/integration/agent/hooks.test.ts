import { expect, test } from 'vitest';

import type { ChildPlan } from '../../support/signal-child.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';

const KUMA: ChildPlan = { contract: 'kuma', envoy: 'admin', drainMs: 30_000, exit: { code: 0 } };

async function open(options: readonly string[], parts: AsyncDisposableStack): Promise<SignalScene> {
  const controlPlane = parts.use(await ControlPlane.start());
  return parts.use(new SignalScene({ controlPlane, child: KUMA, options: ['--settle=100ms', ...options] }));
}

test('hooks run in the order of the stop, the agent logs them, and Envoy serves until --on-leave has ended', async () => {
  await using parts = new AsyncDisposableStack();
  const scene = await open(
    [
      '--stop-budget=20s',
      '--on-leave=echo "leaving $KUMA_HOOK_NAME"; sleep 1',
      '--on-drained=echo "$KUMA_HOOK $KUMA_HOOK_PHASE" >&2; exit 3',
    ],
    parts,
  );
  const agent = await scene.start();
  await scene.untilRunning(agent);
  agent.signal('SIGTERM');
  expect(await agent.exited).toMatchObject({ code: 0 });
  const said = agent.events
    .filter(({ event }) => event.startsWith('hook.'))
    .map(({ event, hook }) => `${event} ${String(hook)}`);
  expect(said).toEqual(['hook.said leave', 'hook.done leave', 'hook.said drained', 'hook.failed drained']);
  expect(agent.stderr).toContain(`leaving ${scene.name}`);
  // The second signal ends kuma-dp's drain: not before the hook has ended.
  const [drain, end] = scene.child.signals('SIGTERM');
  expect((end?.atMs ?? 0) - (drain?.atMs ?? 0)).toBeGreaterThan(500);
  expect(scene.isThere).toBe(false);
});

test('hooks that never end keep a stop within its budget, and leave nothing behind', async () => {
  await using parts = new AsyncDisposableStack();
  const scene = await open(
    ['--stop-budget=4s', '--on-leave=sleep 600 & sleep 600', '--on-drained=trap "" TERM; sleep 600; :'],
    parts,
  );
  const agent = await scene.start();
  await scene.untilRunning(agent);
  agent.signal('SIGTERM');
  expect(await agent.exited).toMatchObject({ code: 0 });
  expect(agent.report.totalMs).toBeLessThan(4_000);
  expect(agent.events.filter(({ event }) => event === 'hook.failed')).toHaveLength(2);
  await agent.waitUntilNobodyLives();
});

test('a command that cannot run, and a hurried stop, change nothing', async () => {
  await using parts = new AsyncDisposableStack();
  const scene = await open(['--on-leave=/no/such/program', '--on-drained=sleep 600'], parts);
  const agent = await scene.start();
  await scene.untilRunning(agent);
  agent.signal('SIGTERM');
  await agent.waitForEvent('hook.failed');
  agent.signal('SIGTERM');
  expect(await agent.exited).toMatchObject({ code: 0 });
  expect(scene.isThere).toBe(false);
});
