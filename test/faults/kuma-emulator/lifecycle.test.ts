import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { networkingOf } from '../../support/kuma/dataplane-model.ts';
import type { ControlPlaneOptions } from '../../support/kuma/settings.ts';
import { type KumaVersion } from '../../support/kuma/version-traits.ts';
import { KUMA_DP } from '../../support/world/dataplane-command.ts';
import { freePort } from '../../support/world/free-port.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { answersHttp, runCommand, waitUntilServing } from '../../support/world/running-dataplane.ts';
import { QuickWorld } from '../../support/kuma/quick-world.ts';

let world: QuickWorld;

beforeEach(async () => {
  world = await QuickWorld.start({ healthFeedback: false });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

async function use(version: KumaVersion, options: ControlPlaneOptions = {}): Promise<void> {
  await world[Symbol.asyncDispose]();
  world = await QuickWorld.start({ version, healthFeedback: false, ...options });
}

describe('a dataplane that was passed to kuma-dp', () => {
  test.for([
    ['2.7.11', 'leaked'],
    ['2.10.1', 'leaked'],
    ['2.14.3', 'deregistered'],
    ['3.0.0-preview', 'deregistered'],
  ] as const)(
    '%s: is registered and online; after kill -9 it is offline at once, later %s',
    async ([version, end]) => {
      await use(version);
      const dataplane = await world.servingDataplane('b1');
      expect(world.find('b1')).toBeDefined();
      expect(world.subscriptions('b1')).toMatchObject([
        {
          controlPlaneInstanceId: world.controlPlane.instanceId,
          status: { total: { responsesAcknowledged: '2' } },
        },
      ]);
      expect(world.subscriptions('b1')[0]).not.toHaveProperty('disconnectTime');

      dataplane.process.signal('SIGKILL');
      await world.controlPlane.journal.waitForEvent(({ kind }) => kind === 'stream-closed');
      expect(world.subscriptions('b1')[0]).toHaveProperty('disconnectTime');
      const { kind } = await world.controlPlane.journal.waitForEvent((event) =>
        /leaked|deregistered/.test(event.kind),
      );
      expect(kind).toBe(end);
      expect(world.find('b1') === undefined).toBe(end === 'deregistered');
    },
  );

  test('2.7.11 refuses no successor', async () => {
    await use('2.7.11');
    const first = await world.servingDataplane('b1');
    first.process.signal('SIGKILL');
    await first.process.exited;
    await using second = runCommand(first);
    await waitUntilServing(second.inboundPort);
    expect(world.controlPlane.journal.events.map(({ kind }) => kind)).not.toContain('stream-refused');
  });

  test('that outlives a crash of its control plane comes back and ends the ghost of its old stream', async () => {
    await world.servingDataplane('b1');
    const before = world.find('b1')?.creationTime;
    await world.controlPlane.crash();
    expect(world.subscriptions('b1').map((one) => 'disconnectTime' in one)).toEqual([false]);
    const from = world.controlPlane.journal.events.length;
    await world.controlPlane.start();
    await world.controlPlane.journal.waitForEvent(({ kind }) => kind === 'stream-accepted', { from });
    expect(world.subscriptions('b1').map((one) => 'disconnectTime' in one)).toEqual([true, false]);
    expect(world.find('b1')?.creationTime).toBe(before);
  });

  test('whose stream is cut is deregistered first, then comes back by itself as a new object', async () => {
    const dataplane = await world.servingDataplane('b1');
    const before = world.find('b1')?.creationTime;
    expect(before).toBeDefined();
    const from = world.controlPlane.journal.events.length;
    world.controlPlane.dropStreams('b1');
    await world.controlPlane.journal.waitForEvent(({ kind }) => kind === 'stream-accepted', { from });
    expect(world.find('b1')?.creationTime).not.toBe(before);
    expect(world.subscriptions('b1')).toHaveLength(1);
    expect(await answersHttp(dataplane.inboundPort)).toBe(true);
  });

  test('2.10.1: whose stream is cut comes back by itself and keeps two subscriptions', async () => {
    await use('2.10.1');
    const dataplane = await world.servingDataplane('b1');
    for (const round of [1, 2]) {
      const from = world.controlPlane.journal.events.length;
      world.controlPlane.dropStreams('b1');
      await world.controlPlane.journal.waitForEvent(({ kind }) => kind === 'stream-accepted', { from });
      expect(world.subscriptions('b1'), `round ${round}`).toHaveLength(2);
    }
    expect(world.subscriptions('b1').map((one) => 'disconnectTime' in one)).toEqual([true, false]);
    expect(await answersHttp(dataplane.inboundPort)).toBe(true);
  });
});

test('without health feedback, a draining dataplane stays ready', async () => {
  const dataplane = await world.servingDataplane('b1', { drainTime: '1s' });
  dataplane.process.signal('SIGTERM');
  expect(await dataplane.process.exited).toMatchObject({ code: 0 });
  const inbound = networkingOf(world.find('b1')?.spec ?? {}).inbound ?? [];
  expect(inbound.map(({ state }) => state ?? 'Ready')).toEqual(['Ready']);
});

describe('a zone proxy', () => {
  test('is registered and deregistered like a dataplane', async () => {
    const port = await freePort();
    const resource = { type: 'ZoneIngress', name: 'zi', networking: { address: '127.0.0.1', port } };
    const key = { type: 'ZoneIngress', mesh: '', name: 'zi' } as const;
    await using ingress = new ManagedProcess({
      command: KUMA_DP,
      argv: [
        'run',
        '--proxy-type=ingress',
        `--cp-address=${world.controlPlane.dataplaneUrl}`,
        '--skip-verify',
        `--dataplane=${JSON.stringify(resource)}`,
        `--work-dir=${world.dir.join('zi')}`,
      ],
      env: { KUMA_READINESS_PORT: String(await freePort()) },
    });
    await waitUntilServing(port, 'tcp');
    expect(world.controlPlane.store.find(key)).toBeDefined();
    ingress.signal('SIGKILL');
    await world.controlPlane.journal.waitForEvent(({ kind }) => kind === 'deregistered');
    expect(world.controlPlane.store.find(key)).toBeUndefined();
  });
});

describe('a dataplane applied before', () => {
  const preApplied = { lifecycle: 'pre-applied' } as const;

  test('that is deleted while connected: the control plane refuses a new stream with the reason, and Envoy continues to serve', async () => {
    const dataplane = await world.dataplane('b1', preApplied, { KUMA_CONTROL_PLANE_RETRY_BACKOFF: '50ms' });
    await world.put(dataplane.resource);
    await waitUntilServing(dataplane.inboundPort);
    expect(await world.delete('b1')).toBe(200);
    world.controlPlane.dropStreams('b1');
    const { detail } = await world.controlPlane.journal.waitForEvent(({ kind }) => kind === 'stream-refused');
    expect(detail).toBe(
      'resource "default.b1" not found; create a Dataplane in Kuma CP first or pass it as an argument to kuma-dp',
    );
    expect(await answersHttp(dataplane.inboundPort)).toBe(true);
    expect(world.find('b1')).toBeUndefined();
  });
});
