import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { recordedText, type RecordedVersion } from '../../support/kuma/recorded.ts';
import { KUMA_DP } from '../../support/world/dataplane-command.ts';
import { httpCall } from '../../support/world/http-call.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { QuickWorld } from '../../support/kuma/quick-world.ts';

describe('kuma-dp run', () => {
  let world: QuickWorld;

  beforeEach(async () => {
    world = await QuickWorld.start({ healthFeedback: false });
  });

  afterEach(async () => {
    await world[Symbol.asyncDispose]();
  });

  test.for([
    ['2.10.1', 'legacy'],
    ['2.14.3', 'legacy'],
    ['3.0.0-preview', 'unified'],
  ] as const)('%s: listeners and statistics have the names of a recorded Envoy', async ([version]) => {
    await world[Symbol.asyncDispose]();
    world = await QuickWorld.start({ version });
    const dataplane = await world.servingDataplane('b1');
    const admin =
      version === '2.10.1' ? { port: dataplane.adminPort } : { socketPath: dataplane.adminSocket };
    const recordedPorts = { inbound: '10001', service: '20001' };
    const ours = (text: string): string =>
      text
        .replaceAll(String(dataplane.inboundPort), recordedPorts.inbound)
        .replaceAll(String(world.application.port), recordedPorts.service);
    const stats = ours((await httpCall({ ...admin, path: '/stats' })).body);
    const names = new Set(stats.split('\n').map((line) => line.split(':')[0]));
    expect(recordedStatNames(version).filter((name) => !names.has(name))).toEqual([]);
    const discovery = version === '3.0.0-preview' ? 'system_ads' : 'ads_cluster';
    expect(stats).toContain(`cluster.${discovery}.upstream_rq_active: 2`);
    const listeners = JSON.parse(
      ours((await httpCall({ ...admin, path: '/listeners?format=json' })).body),
    ) as unknown;
    expect(listeners).toEqual(recordedListeners(version));
  });
});

/** All names but those of workers: Envoy has one worker for each processor. */
function recordedStatNames(version: RecordedVersion): readonly string[] {
  return recordedText(version, 'envoy-stats-idle.txt')
    .split('\n')
    .map((line) => line.split(':')[0] ?? '')
    .filter((name) => name !== '' && !name.includes('worker_'));
}

function recordedListeners(version: RecordedVersion): unknown {
  return JSON.parse(recordedText(version, 'envoy-listeners.json'));
}

async function ending(
  argv: readonly string[],
  options: { stdin?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<{ code: number | null; stderr: string; stdout: string }> {
  await using child = new ManagedProcess({ command: KUMA_DP, argv, cwd: tmpdir(), ...options });
  const { code } = await child.exited;
  return { code, stderr: child.stderr, stdout: child.stdout };
}

describe('the command line', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await ControlPlane.start({ storeCacheMs: 50 });
  });

  afterAll(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  test('without the right CA it does not get past the control plane', async () => {
    await using child = new ManagedProcess({
      command: KUMA_DP,
      argv: ['run', '--name=n', '--mesh=default', '--cp-address', controlPlane.dataplaneUrl],
    });
    await child.waitForOutput('request to bootstrap server failed');
    child.signal('SIGTERM');
    expect(await child.exited).toMatchObject({ code: 1 });
  });

  test('version prints the version', async () => {
    expect(await ending(['version'])).toEqual({ code: 0, stdout: 'Kuma: 2.14.3\n', stderr: '' });
  });
});
