import { expect, test } from 'vitest';

import { CompanionProcess } from '../../support/companion-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { processState } from '../../support/world/processes.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

test('a test can kill the companion, start it again on the same ports and store, and pause it', async () => {
  using dir = new TemporaryDir();
  await using controlPlane = await ControlPlane.start();
  await using companion = await CompanionProcess.start({ kumaApi: [controlPlane.httpUrl], dir: dir.path });
  const first = companion.pid;
  const found = { url: controlPlane.httpUrl, instanceId: controlPlane.instanceId };
  expect(await companion.waitForEvent('control-plane.found')).toMatchObject(found);

  await companion.pause();
  expect(processState(first)).toBe('T');
  companion.continue();
  await companion.waitUntilReady();

  await companion.restart('kill');
  expect(companion.pid).not.toBe(first);
  await companion.waitForEvent('deregistrar.started', { count: 2 });
  expect(await companion.stop()).toEqual({ code: 0, signal: null });
  expect(companion.seen('deregistrar.stopped')).toHaveLength(1);
  expect(companion.spoken).toEqual([]);
});

test('a companion that cannot start reports the reason', async () => {
  using dir = new TemporaryDir();
  await using companion = await CompanionProcess.create({
    kumaApi: ['not-a-url'],
    dir: dir.path,
  });
  await companion.start();
  await expect(companion.waitUntilReady()).rejects.toThrow(/ended before.*--kuma-api/s);
  expect(await companion.exited()).toEqual({ code: 78, signal: null });
});
