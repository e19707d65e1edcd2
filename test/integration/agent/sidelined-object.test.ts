import { expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { DataplaneResource } from '../../../kuma/dataplane.ts';
import { SIDELINED_LABEL, sideline } from '../../../kuma/sidelined.ts';
import { dataplaneCommand } from '../../support/world/dataplane-command.ts';
import { AGENT } from '../../support/world/fleet.ts';
import { HttpApplication } from '../../support/world/http-application.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { losePower } from '../../support/world/power-loss.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

test('an agent puts back its own object that a companion sidelined before its removal', async () => {
  using dir = new TemporaryDir();
  // Health feedback would set the port Ready as well, and leave the mark.
  await using controlPlane = await ControlPlane.start({ healthFeedback: false });
  await using application = await HttpApplication.start({ name: 'web-1' });
  const { command, argv, env, resource } = await dataplaneCommand({
    controlPlaneUrl: controlPlane.dataplaneUrl,
    name: 'web-1',
    servicePort: application.port,
    workDir: dir.join('web-1'),
    lifecycle: 'pre-applied',
  });
  const out = sideline(DataplaneResource.parse(resource), { epoch: 1, lostAtMs: 1_796_000_000_000 });
  const put = await fetch(`${controlPlane.httpUrl}/meshes/default/dataplanes/web-1`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(out?.resource),
  });
  expect(put.ok).toBe(true);
  const stored = () => {
    const object = controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name: 'web-1' });
    if (object === undefined) throw new Error('The object is gone');
    const { inbound } = object.spec['networking'] as { readonly inbound: readonly { state?: string }[] };
    return { state: inbound[0]?.state ?? 'Ready', isMarked: SIDELINED_LABEL in object.labels };
  };
  expect(stored()).toEqual({ state: 'NotReady', isMarked: true });

  await using agent = new ManagedProcess({
    command: AGENT,
    argv: [
      'run',
      '--endpoint',
      controlPlane.httpUrl,
      '--state-dir',
      dir.join('state'),
      '--',
      command,
      ...argv,
    ],
    env,
  });
  await waitUntil(() => stored().state === 'Ready', {
    what: () => `the object to be put back; the agent said: ${agent.stderr.slice(-3_000)}`,
  });
  expect(stored().isMarked).toBe(false);
  await agent.waitForOutput('dataplane.restored');
  await losePower(agent);
});
