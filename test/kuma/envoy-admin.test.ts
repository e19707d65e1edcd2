import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { envoyFinder } from '../../agent/envoy/envoy.io.ts';
import {
  ACTIVITY_STATS_FILTER,
  listensOn,
  readActivity,
  readDirections,
  type Activity,
  type Traffic,
} from '../../agent/envoy/envoy-activity.pure.ts';
import type { EnvoyAdmin } from '../../agent/ports.ts';
import { systemClock } from '../../kernel/clock.ts';
import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { RealPeer } from '../support/kuma-worlds/real-peer.ts';
import { SoloDataplane } from '../support/kuma-worlds/solo-dataplane.ts';
import { kumasUnderTest } from '../support/kuma-worlds/worlds.ts';
import { waitUntil } from '../support/world/wait-until.ts';

describe.concurrent.for(kumasUnderTest)(
  "$label: Envoy's admin, as the agent finds and reads it",
  ({ create, real }) => {
    let world: KumaWorld;

    beforeAll(async () => {
      world = await create();
    });

    afterAll(async () => {
      await world[Symbol.asyncDispose]();
    });

    test('the agent finds it below kuma-dp, and it names the ports on which Envoy listens', async () => {
      await using dataplane = await SoloDataplane.serving(world, { name: 'found' });
      const admin = await adminBelow(dataplane.process.pid);
      const { inboundPort } = dataplane.command;
      const listeners = await admin.listeners();
      expect(listensOn(listeners, [{ address: '127.0.0.1', port: inboundPort }])).toBe(true);
      expect(listensOn(listeners, [{ address: '127.0.0.1', port: inboundPort + 1 }])).toBe(false);
      admin.close();
    });

    test('a request in progress counts as activity, the admin and the control plane do not', async () => {
      await using dataplane = await SoloDataplane.serving(world, { name: 'active' });
      const admin = await adminBelow(dataplane.process.pid);
      await waitUntil(async () => (await inbound(admin)).requests === 0, { what: 'quiet' });
      const before = await inbound(admin);
      const held = fetch(`http://${dataplane.command.endpoint}/hold`);
      await waitUntil(() => dataplane.application.active === 1, { what: 'the request to arrive' });
      const during = await inbound(admin);
      expect(during).toEqual({ requests: 1, connections: 0, begun: before.begun + 1 });
      dataplane.application.release();
      expect((await held).status).toBe(200);
      expect(await waitUntil(async () => (await inbound(admin)).requests === 0, { what: 'quiet' })).toBe(
        true,
      );
      expect(await inbound(admin)).toEqual({ requests: 0, connections: 0, begun: before.begun + 1 });
      admin.close();
    });

    test('it counts on while it drains', async () => {
      await using dataplane = await SoloDataplane.serving(world, { name: 'drains' });
      const admin = await adminBelow(dataplane.process.pid);
      const held = fetch(`http://${dataplane.command.endpoint}/hold`);
      await waitUntil(() => dataplane.application.active === 1, { what: 'the request to arrive' });
      dataplane.process.signal('SIGTERM');
      await waitUntil(async () => (await dataplane.readiness()).status === 503, { what: 'unreadiness' });
      expect((await inbound(admin)).requests).toBe(1);
      dataplane.application.release();
      await held;
      await waitUntil(async () => (await inbound(admin)).requests === 0, { what: 'quiet' });
      admin.close();
    });

    test.runIf(real)('an outbound request does not count for the inbounds', async () => {
      await using dataplane = await SoloDataplane.serving(world, { name: 'called' });
      await using peer = await RealPeer.start(world, 'called');
      await waitUntil(async () => (await peer.endpoints()).length === 1, { what: 'the peer to know it' });
      const admin = await adminBelow(peer.pid);
      const before = await activity(admin);
      const held = fetch(`http://127.0.0.1:${peer.port}/hold`);
      await waitUntil(() => dataplane.application.active === 1, { what: 'the request to arrive' });
      const during = await activity(admin);
      expect(during.inbound).toEqual(before.inbound);
      expect(during.outbound.requests).toBe(1);
      dataplane.application.release();
      expect((await held).status).toBe(200);
      admin.close();
    });
  },
);

async function adminBelow(pid: number): Promise<EnvoyAdmin> {
  const lookup = await envoyFinder(systemClock).find(pid);
  if (typeof lookup === 'string') throw new Error('No Envoy was found');
  if ('hidden' in lookup) throw new Error(lookup.hidden);
  return lookup.admin;
}

async function activity(admin: EnvoyAdmin): Promise<Activity> {
  const directions = readDirections(await admin.listenerConfig());
  return readActivity(await admin.stats(ACTIVITY_STATS_FILTER), directions);
}

async function inbound(admin: EnvoyAdmin): Promise<Traffic> {
  return (await activity(admin)).inbound;
}
