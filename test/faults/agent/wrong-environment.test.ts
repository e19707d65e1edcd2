import { afterAll, beforeAll, expect, test } from 'vitest';

import { CHILD } from '../../support/agent-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

test('a wrong value in the environment ends nothing: the agent logs it and uses the default', async () => {
  await using scene = new SignalScene({ controlPlane, mode: 'exit-0' });
  const wrong = { KUMA_DP_AGENT_STOP_BUDGET: 'abc', KUMA_DP_AGENT_CLIENT_KEY_FILE: '/nowhere' };
  const agent = await scene.start({ env: wrong });
  expect(await agent.exited).toEqual({ code: 0, signal: null });
  const said = agent.seen('setting.ignored').map(({ msg }) => String(msg));
  expect(said).toEqual([
    expect.stringContaining('KUMA_DP_AGENT_STOP_BUDGET'),
    expect.stringContaining('KUMA_DP_AGENT_CLIENT_KEY_FILE'),
  ]);
  const plan = await scene.agent(['plan', '--', CHILD, 'run'], { env: wrong });
  expect(await plan.exited).toEqual({ code: 2, signal: null });
  expect(plan.stdout.toString()).toContain('KUMA_DP_AGENT_STOP_BUDGET');
});
