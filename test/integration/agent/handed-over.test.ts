import { expect, test } from 'vitest';

import { CompanionProcess } from '../../support/companion-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';

test('after two stop requests with the control plane down, the agent knows that the companion has recorded the departure', async () => {
  await using controlPlane = await ControlPlane.start();
  await using scene = new SignalScene({
    controlPlane,
    child: { contract: 'kuma', envoy: 'hidden', drainMs: 300 },
    options: ['--stop-budget=10s'],
    endpoints: [],
    put: false,
  });
  await using companion = await CompanionProcess.start({
    kumaApi: [controlPlane.httpUrl],
    dir: scene.dir.path,
  });
  const argv = ['run', `--endpoint=grpc://${companion.address}`, ...scene.runArgv.slice(1)];
  const agent = await scene.start({ argv });
  await agent.waitForEvent('dataplane.ready');
  await agent.waitForEvent('endpoint.reached');

  await controlPlane.stop();
  agent.signal('SIGTERM');
  await agent.waitForEvent('stop.requested');
  agent.signal('SIGTERM');
  expect(await agent.exited, agent.stderr).toEqual({ code: 0, signal: null });

  expect(agent.seen('deregistration.failed')).toEqual([]);
  expect(agent.seen('dataplane.handed-over')).toMatchObject([
    { endpoint: `grpc://${companion.address}`, level: 40 },
  ]);
  expect(agent.report.steps[0]).toMatchObject({ step: 'deregister', outcome: 'handed over' });
  expect(companion.seen('departure.requested')).not.toEqual([]);
});
